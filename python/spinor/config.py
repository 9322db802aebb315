"""compressed-tensors' objects: what spinor takes, and gives back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spinor.modifiers import plain


class _Config:
    """Fields by name; takes the same object of compressed-tensors, too."""

    _fields: tuple[str, ...] = ()

    def __init__(self, other: Any = None, /, **fields: Any):
        from spinor._errors import InputError
        from spinor._run import _nearest

        given = {**({} if other is None else plain(other)), **fields}
        for name in given:
            if name not in self._fields:
                raise InputError(type(self).__name__, f"has no field {name!r}", _nearest(name, self._fields))
        self.__dict__.update(given)

    def to_dict(self) -> dict[str, Any]:
        return {name: plain(value) for name, value in self.__dict__.items()}

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As pydantic's, of what is given."""
        return self.to_dict()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_dict() == other.to_dict()  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


class TransformArgs(_Config):
    """Where a transform acts: targets, location (input, weight_input, ...), inverse, ignore."""

    _fields = ("targets", "location", "inverse", "ignore")


class TransformScheme(_Config):
    """A kind of matrix and where it acts: type, apply, randomize, requires_grad, head_dim, precision."""

    _fields = ("type", "apply", "randomize", "requires_grad", "head_dim", "precision", "block_size")


class TransformConfig(_Config):
    """config_groups: schemes by name."""

    _fields = ("config_groups",)


class QuantizationScheme(_Config):
    """How targets are quantized: targets, weights, input_activations, output_activations, format."""

    _fields = ("targets", "weights", "input_activations", "output_activations", "format")


def to_compressed_tensors(config: Any) -> Any:
    """The same as compressed-tensors' object."""
    from compressed_tensors.quantization import QuantizationScheme as Scheme
    from compressed_tensors.transform import TransformArgs as Args
    from compressed_tensors.transform import TransformConfig as Transforms
    from compressed_tensors.transform import TransformScheme as Transform

    classes = {TransformArgs: Args, TransformScheme: Transform, TransformConfig: Transforms, QuantizationScheme: Scheme}
    return classes[type(config)].model_validate(config.to_dict())


def apply_transform_config(model: Any, config: Any, **arguments: Any) -> Any:
    """Applies it to a model in memory, as rotate_model() does: weights where they are, the rest attached as modules."""
    from spinor.memory import rotate_model

    return rotate_model(model, recipe={"SpinQuantModifier": {"transform_config": plain(config)}}, **arguments)


def match_named_modules(
    model: Any, targets: Iterable[str], ignore: Sequence[str] = ()
) -> Iterator[tuple[str, Any]]:
    """(name, module) of those that a target names and no entry of `ignore` does: by name, by the class or a parent of
    it, or by re:, a regex that matches from the name's start."""
    targets = list(targets)
    for name, module in model.named_modules():
        if any(_matches(name, module, t) for t in targets) and not any(_matches(name, module, t) for t in ignore):
            yield name, module


def _matches(name: str, module: Any, target: str) -> bool:
    if target.startswith("re:"):
        return re.match(target.removeprefix("re:"), name) is not None
    return target == name or any(parent.__name__ == target for parent in type(module).__mro__)
