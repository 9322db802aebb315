"""What rotates classes of models that a program knows better: operations, one after the other, on modules in memory.

    @RotateOperationRegistry.register(AbcForCausalLM)
    def fuse_norms(model, **options):
        fuse_layer_norms(model)

    @RotateOperationRegistry.register(AbcForCausalLM)
    def rotate_stream(model, R, **options):
        AutoOperation.rotate_output(model.model.embed_tokens, R)
        ...

    spinor.rotate_model(model, get_orthogonal_matrix(model.config.hidden_size))
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from spinor._errors import ArgumentError, InputError

Operation = Callable[..., None]


class RotateOperationRegistry:
    """Operations by the class of a model, exactly that class, in the order in which they were registered."""

    _operations: dict[type, list[Operation]] = {}

    @classmethod
    def register(cls, model_class: type) -> Callable[[Operation], Operation]:
        """A decorator of operations, which are called as operation(model, **arguments of rotate_model)."""
        if not isinstance(model_class, type):
            raise ArgumentError("register", f"is given {model_class!r}", "give the class of the models")

        def registered(operation: Operation) -> Operation:
            cls._operations.setdefault(model_class, []).append(operation)
            return operation

        return registered

    @classmethod
    def operations_of(cls, model: Any) -> list[Operation]:
        return list(cls._operations.get(type(model), ()))

    @classmethod
    @torch.no_grad()
    def rotate(cls, model: Any, *arguments: Any, **named: Any) -> None:
        """Calls them all. Of the arguments each gets those that it has a place for: all if it takes *arguments and
        **options."""
        operations = cls.operations_of(model)
        for name in named:
            if not any(_takes(operation, name) for operation in operations):
                raise ArgumentError("rotate_model", f"has no operation that takes {name!r}")
        most = max(_places(operation) for operation in operations)
        if len(arguments) > most:
            raise ArgumentError("rotate_model", f"has no operation that takes {len(arguments)} arguments and a model")
        for operation in operations:
            some = {name: value for name, value in named.items() if _takes(operation, name)}
            operation(model, *arguments[:_places(operation)], **some)


def _takes(operation: Operation, name: str) -> bool:
    parameters = inspect.signature(operation).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _places(operation: Operation) -> int:
    """How many arguments behind the model it takes by their place."""
    parameters = inspect.signature(operation).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return sys.maxsize
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) - 1


class NormLinearIterator:
    """Yields (father, norm_name, linears): the linears that read what the norm father.norm_name gives. Derive from it,
    and decorate the class with NormLinearIterator.register_iterator."""

    _iterators: list[type[NormLinearIterator]] = []

    def __init__(self, model: Any = None):
        self.model = model

    def __iter__(self) -> Iterator[tuple[torch.nn.Module, str, list[torch.nn.Module]]]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__")

    @classmethod
    def supports_model(cls, model: torch.nn.Module) -> bool:
        return False

    @classmethod
    def register_iterator(cls, iterator: type[NormLinearIterator]) -> type[NormLinearIterator]:
        cls._iterators.append(iterator)
        return iterator

    @classmethod
    def from_model(cls, model: torch.nn.Module) -> NormLinearIterator:
        """Of the first class that supports the model."""
        for iterator in cls._iterators:
            if iterator.supports_model(model):
                return iterator(model)
        raise InputError(type(model).__name__, "no iterator over its norms supports it",
                         "derive one from NormLinearIterator, and decorate it with register_iterator")  # fmt: skip


@torch.no_grad()
def fuse_layer_norms(model: Any) -> None:
    """Moves the scale (and the bias, where the linears have one) of every norm into the linears that read it, in
    float64. An RMS norm scales by 1 from then on; the mean that a LayerNorm subtracts stays its own affair.

        spinor.fuse_layer_norms(model)     # of a class that a NormLinearIterator supports
    """
    for father, name, linears in NormLinearIterator.from_model(model):
        norm = getattr(father, name)
        scale = norm.weight.double()
        offset = _offset(norm)
        bias = getattr(norm, "bias", None)
        for linear in linears:
            if linear.weight.shape[-1] != len(scale):
                raise InputError(f"{name}", f"has {len(scale)} entries for {linear.weight.shape[-1]} inputs")
            if bias is not None:
                if linear.bias is None:
                    raise InputError(name, "has a bias, and a linear behind it has none", "give the linear a bias")
                linear.bias.copy_(linear.bias.double() + linear.weight.double() @ bias.double())
            linear.weight.copy_(linear.weight.double() * (scale + offset))
        norm.weight.fill_(1 - offset)
        if bias is not None:
            bias.zero_()


def _offset(norm: torch.nn.Module) -> float:
    """1 for norms that multiply by 1 + weight, as Gemma's do."""
    weight = norm.weight
    kept = weight.clone()
    probe = torch.ones(len(weight), dtype=weight.dtype, device=weight.device)
    weight.fill_(0)
    try:
        return 1.0 if bool((norm(probe) != 0).any()) and getattr(norm, "bias", None) is None else 0.0
    finally:
        weight.copy_(kept)


class _ByName(type):
    """Every operation that is registered is a method: AutoOperation.rotate_attn_v(attention, R)."""

    def __getattr__(cls, name: str) -> Callable[..., Any]:
        known: Any = type.__getattribute__(cls, "_operations")
        if name in known:
            return functools.partial(type.__getattribute__(cls, "apply_operation"), name)
        raise AttributeError(f"AutoOperation has no operation {name!r}, but {', '.join(known)}")


class AutoOperation(metaclass=_ByName):
    """The same operation on modules of different classes: the class itself, else its parents', in order."""

    _operations: dict[str, dict[type, Callable[..., Any]]] = {}

    @classmethod
    def register_operation(cls, name: str, module_class: type) -> Callable[..., Any]:
        """A decorator of what the operation does to modules of the class, called as operation(module, ...)."""

        def registered(operation: Callable[..., Any]) -> Callable[..., Any]:
            cls._operations.setdefault(name, {})[module_class] = operation
            return operation

        return registered

    @classmethod
    @torch.no_grad()
    def apply_operation(cls, name: str, module: torch.nn.Module, *arguments: Any, **named: Any) -> Any:
        """AutoOperation.name(module, ...)."""
        table = cls._operations.get(name, {})
        for parent in type(module).__mro__:
            if parent in table:
                return table[parent](module, *arguments, **named)
        kind = type(module).__name__
        hint = f"register it: AutoOperation.register_operation({name!r}, {kind})"
        raise InputError(name, f"does not know {kind}", hint)

    @classmethod
    def rotate_output(cls, module: torch.nn.Module, rotation: torch.Tensor) -> None:
        """m'(x) = m(x) R, R (n, n) for an output of size n, or a divisor of it, repeated along the diagonal."""
        cls.apply_operation("rotate_output", module, rotation)

    @classmethod
    def rotate_input(cls, module: torch.nn.Module, rotation: torch.Tensor) -> None:
        """m'(x) = m(x R): what reads x R, R orthogonal, is given R.T."""
        cls.apply_operation("rotate_input", module, rotation)


def _times(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rows x, times the blocks of R, in float64."""
    n = len(rotation)
    if rotation.shape != (n, n) or x.shape[-1] % n:
        raise InputError("rotation", f"of shape {tuple(rotation.shape)} does not fit {x.shape[-1]} channels")
    return (x.double().unflatten(-1, (-1, n)) @ rotation.double().to(x.device)).flatten(-2)


@AutoOperation.register_operation("rotate_output", torch.nn.Linear)
def _rotate_output_of_linear(linear: torch.nn.Linear, rotation: torch.Tensor) -> None:
    linear.weight.copy_(_times(linear.weight.T, rotation).T)
    if linear.bias is not None:
        linear.bias.copy_(_times(linear.bias, rotation))


@AutoOperation.register_operation("rotate_input", torch.nn.Linear)
def _rotate_input_of_linear(linear: torch.nn.Linear, rotation: torch.Tensor) -> None:
    linear.weight.copy_(_times(linear.weight, rotation.T))


@AutoOperation.register_operation("rotate_output", torch.nn.Embedding)
def _rotate_output_of_embedding(embedding: torch.nn.Embedding, rotation: torch.Tensor) -> None:
    embedding.weight.copy_(_times(embedding.weight, rotation))
