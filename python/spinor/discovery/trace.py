"""What a forward pass does: every operation, the module it ran in, and the parameters that its operands come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "convolution", "_grouped_mm", "_addmm_activation"}
# The first operand of these is added to a product of the other two.
WITH_ADDEND = {"addmm", "baddbmm", "addmv", "_addmm_activation"}
# An output holds values of an input, whatever their order: what reads it reads the input.
SAME_VALUES = {"view", "_unsafe_view", "reshape", "index", "index_select", "clone", "_to_copy", "expand", "unsqueeze",
               "squeeze", "detach", "alias", "contiguous", "repeat", "t", "transpose", "permute", "select", "slice",
               "lift_fresh", "repeat_interleave", "native_dropout", "dropout"}


@dataclasses.dataclass
class Operation:
    index: int
    name: str
    module: str
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]
    sources: list[str | None]  # of each input: the parameter that it is a view or a copy of


@dataclasses.dataclass
class Use:
    """A product of an activation with a weight."""

    operation: Operation
    weight: str
    axis: int | None  # of the parameter: what is summed over; None where it cannot be told
    activation: torch.Tensor


def tensors_in(value) -> Iterator[torch.Tensor]:
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Trace(TorchDispatchMode):
    """Records while it is entered. `parameters` by name, buffers among them."""

    def __init__(self, model: torch.nn.Module, parameters: dict[str, torch.Tensor]):
        super().__init__()
        self.operations: list[Operation] = []
        self.parameters = parameters
        self._model, self._modules, self._hooks = model, [], []
        self._copies: dict[int, str] = {}
        self._storages = {storage(tensor): name for name, tensor in parameters.items()}

    def __enter__(self):
        for name, module in self._model.named_modules():
            enter = module.register_forward_pre_hook(lambda *_, name=name: self._modules.append(name))
            leave = module.register_forward_hook(lambda *_: self._leave(), always_call=True)
            self._hooks += [enter, leave]
        return super().__enter__()

    def __exit__(self, *error):
        for hook in self._hooks:
            hook.remove()
        return super().__exit__(*error)

    def _leave(self) -> None:
        if self._modules:
            self._modules.pop()

    def source(self, tensor: torch.Tensor) -> str | None:
        return self._copies.get(id(tensor)) or self._storages.get(storage(tensor))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        inputs = [*tensors_in(args), *tensors_in(kwargs)]
        outputs = function(*args, **kwargs)
        name = function.__name__.partition(".")[0]
        operation = Operation(len(self.operations), name, self._modules[-1] if self._modules else "", inputs,
                              list(tensors_in(outputs)), [self.source(tensor) for tensor in inputs])
        self.operations.append(operation)  # which keeps all tensors alive, so that no id is used twice
        if name not in PRODUCTS and name != "embedding" and (source := only_source(operation)):
            for output in operation.outputs:
                self._copies.setdefault(id(output), source)
        return outputs


def only_source(operation: Operation) -> str | None:
    """The parameter, where all numbers that go in come from it."""
    floating = {source for tensor, source in zip(operation.inputs, operation.sources, strict=True)
                if tensor.is_floating_point()}
    return floating.pop() if len(floating) == 1 else None


def uses_of(trace: Trace) -> list[Use]:
    uses = []
    for operation in trace.operations:
        if operation.name not in PRODUCTS:
            continue
        begin = 1 if operation.name in WITH_ADDEND else 0
        factors = list(zip(operation.inputs, operation.sources, strict=True))[begin : begin + 2]
        if len(factors) < 2:
            continue
        (left, of_left), (right, of_right) = factors
        if of_right is not None:
            axis = contracted_axis(operation.name, trace.parameters[of_right], right, True)
            uses.append(Use(operation, of_right, axis, left))
        elif of_left is not None:
            axis = contracted_axis(operation.name, trace.parameters[of_left], left, False)
            uses.append(Use(operation, of_left, axis, right))
    return uses


def contracted_axis(name: str, parameter: torch.Tensor, factor: torch.Tensor, is_right: bool) -> int | None:
    """The axis of the parameter that a product sums over, told by its size, and by its stride where sizes are alike."""
    if name == "convolution":
        axis = 1
    elif factor.dim() < 2:
        axis = 0
    else:
        axis = -2 if is_right else -1
    size, stride = factor.shape[axis], factor.stride(axis)
    alike = [i for i, length in enumerate(parameter.shape) if length == size]
    if len(alike) == 1:
        return alike[0]
    same_stride = [i for i in (alike or range(parameter.dim())) if parameter.stride(i) == stride]
    return same_stride[0] if same_stride else None


class Graph:
    """Which operation wrote a tensor, and what it is made of."""

    def __init__(self, trace: Trace):
        self.trace = trace
        self.uses = uses_of(trace)
        self.use_of = {use.operation.index: use for use in self.uses}
        self._writers: dict[int, list[Operation]] = {}
        self._parents: dict[int, torch.Tensor] = {}
        self.readers: dict[int, list[Operation]] = {}
        for operation in trace.operations:
            read = {storage(tensor) for tensor in operation.inputs}
            for output in operation.outputs:
                if storage(output) not in read or any(output is tensor for tensor in operation.inputs):
                    self._writers.setdefault(storage(output), []).append(operation)
                if operation.name in SAME_VALUES and operation.inputs and operation.inputs[0] is not output:
                    self._parents.setdefault(id(output), operation.inputs[0])
            for tensor in operation.inputs:
                self.readers.setdefault(id(tensor), []).append(operation)

    def root(self, tensor: torch.Tensor) -> torch.Tensor:
        """What was reshaped, copied, or had rows taken from it."""
        while id(tensor) in self._parents:
            tensor = self._parents[id(tensor)]
        return tensor

    def consumers(self, tensor: torch.Tensor, through: frozenset[str] = frozenset()) -> list[Operation]:
        """The operations that compute with it, however it was reshaped on the way; and what else is in `through`."""
        found, pending, seen = [], [tensor], set()
        while pending:
            current = pending.pop()
            if id(current) in seen:
                continue
            seen.add(id(current))
            for operation in self.readers.get(id(current), ()):
                reshaped = operation.name in SAME_VALUES and operation.inputs[0] is current
                if reshaped or operation.name in through:
                    pending += operation.outputs
                else:
                    found.append(operation)
        return found

    def back(self, tensor: torch.Tensor, before: int) -> tuple[list[Operation], dict[str, Operation]]:
        """The operations between the nearest products with weights, or embeddings, and a tensor; and those weights."""
        pending, between, weights, done = [(storage(tensor), before)], {}, {}, set()
        while pending:
            pointer, end = pending.pop()
            for operation in self._writers.get(pointer, ()):
                if operation.index >= end or operation.index in done:
                    continue
                done.add(operation.index)
                if use := self.use_of.get(operation.index):
                    weights.setdefault(use.weight, operation)
                elif operation.name == "embedding":
                    weights.setdefault(operation.sources[0] or "", operation)
                else:
                    between[operation.index] = operation
                    pending += [(storage(value), operation.index)
                             for value, source in zip(operation.inputs, operation.sources, strict=True)
                             if source is None]
        return [between[index] for index in sorted(between)], weights
