"""Norms whose scales can move into the weights that read them: told by what the product with the scale goes into."""

from __future__ import annotations

import dataclasses

import torch

from .sites import Site
from .subject import EXACT, Subject
from .trace import Graph, Operation

SCALING = {"mul", "mul_", "native_layer_norm", "rms_norm", "_fused_rms_norm", "native_group_norm"}
LAYER_NORM = {"native_layer_norm"}
SHAPE_ONLY = {"zeros_like", "empty_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full"}
SPLITTING = {"split", "split_with_sizes", "unbind", "chunk"}
ROW_WISE = {"mul", "div"}  # by one number for each vector: commutes with what acts within the vector


@dataclasses.dataclass
class Fold:
    """A norm multiplies by offset + weight, then adds its biases; `readers` are all that see the result."""

    norm: str
    module: str
    offset: int
    biases: list[str]
    readers: list[Site]
    layer_norm: bool  # subtracts the mean
    others: list[Operation] = dataclasses.field(default_factory=list)  # that see it and are no products with weights
    error: float = 0.0


def is_vector(tensor: torch.Tensor) -> bool:
    return tensor.numel() > 3 and tensor.numel() == max(tensor.shape, default=0)


def scales_of(graph: Graph) -> list[tuple[Operation, int]]:
    """Operations that multiply an activation by a vector of parameters, and which input that is."""
    found, parameters = [], graph.trace.parameters
    for operation in graph.trace.operations:
        if operation.name not in SCALING or len(operation.inputs) < 2:
            continue
        places = [1] if operation.name not in ("mul", "mul_") else [0, 1]
        for place in places:
            source = operation.sources[place]
            other = operation.sources[1 - place] if place < 2 else None
            if source and other is None and is_vector(parameters[source]):
                found.append((operation, place))
    return found


def offset_of(factor: torch.Tensor, weight: torch.Tensor) -> int | None:
    for offset in (0, 1):
        if factor.numel() == weight.numel() and torch.equal(factor.reshape(-1), weight.reshape(-1) + offset):
            return offset
    return None


def follow(graph: Graph, tensor: torch.Tensor, begin: int, fold: Fold, size: int) -> None:
    """Adds what computes with a normed tensor, which lies from `begin` on in the vectors of `tensor`."""
    for operation in graph.consumers(tensor):
        here = next(i for i, value in enumerate(operation.inputs) if graph.root(value) is graph.root(tensor))
        use = graph.use_of.get(operation.index)
        if use and use.axis is not None and graph.root(use.activation) is graph.root(tensor):
            whole = graph.trace.parameters[use.weight].shape[use.axis]
            site = Site(use.weight, use.axis, begin, size, whole)
            if site not in fold.readers:
                fold.readers.append(site)
        elif operation.name == "add" and (bias := bias_in(graph, operation, 1 - here, size)):
            fold.biases.append(bias)
            follow(graph, operation.outputs[0], begin, fold, size)
        elif operation.name in ROW_WISE and here == 0 and is_row_wise(operation):
            follow(graph, operation.outputs[0], begin, fold, size)
        elif operation.name == "cat":
            before = 0
            if operation.outputs[0].shape[-1] != tensor.shape[-1]:
                before = sum(value.shape[-1] for value in operation.inputs[:here])
            follow(graph, operation.outputs[0], begin + before, fold, size)
        elif operation.name in SPLITTING and operation.outputs[0].shape[-1] == tensor.shape[-1]:
            for output in operation.outputs:  # some of the vectors: an expert's tokens
                follow(graph, output, begin, fold, size)
        elif operation.name not in SHAPE_ONLY:
            fold.others.append(operation)


def bias_in(graph: Graph, operation: Operation, place: int, size: int) -> str | None:
    source = operation.sources[place] if place < len(operation.sources) else None
    return source if source and graph.trace.parameters[source].numel() == size else None


def is_row_wise(operation: Operation) -> bool:
    return len(operation.inputs) < 2 or (operation.sources[1] is None and operation.inputs[1].dim() > 0
                                         and operation.inputs[1].shape[-1] == 1) or operation.inputs[1].dim() == 0


def proposals(graph: Graph) -> list[Fold]:
    """One for each norm; a norm that is applied several times has the readers of all of them."""
    folds: dict[str, Fold] = {}
    for operation, place in scales_of(graph):
        name = operation.sources[place]
        weight = graph.trace.parameters[name]
        offset = offset_of(operation.inputs[place], weight)
        if offset is None:
            continue
        fold = folds.setdefault(name, Fold(name, operation.module, offset, [], [], operation.name in LAYER_NORM))
        if operation.name in LAYER_NORM and len(operation.sources) > 2 and operation.sources[2]:
            fold.biases.append(operation.sources[2])
        follow(graph, operation.outputs[0], 0, fold, weight.numel())
        fold.biases = list(dict.fromkeys(fold.biases))
    return list(folds.values())


@torch.no_grad()
def apply(subject: Subject, fold: Fold) -> None:
    weight = subject.tensors[fold.norm]
    scale = (weight + fold.offset).reshape(-1).clone()
    weight.fill_(1 - fold.offset)
    for site in fold.readers:
        site.scale(subject.tensors[site.tensor], scale)
    for bias in fold.biases:
        subject.tensors[bias] /= scale.reshape(subject.tensors[bias].shape)


def fold_all(subject: Subject, graph: Graph) -> tuple[list[Fold], list[Fold]]:
    """Folds what can be folded, and leaves the subject so: those that are proved, and those that are not."""
    candidates = proposals(graph)
    able = [fold for fold in candidates if fold.readers and not fold.others]
    proved, refuted = [], [fold for fold in candidates if not fold.readers or fold.others]
    before = subject.state()
    for fold in able:
        apply(subject, fold)
    if able and (error := subject.moved()) < EXACT:
        for fold in able:
            fold.error = error
        return able, refuted
    subject.restore(before)
    for fold in able:
        before = subject.state()
        apply(subject, fold)
        fold.error = subject.moved()
        if fold.error < EXACT:
            proved.append(fold)
        else:
            subject.restore(before)
            refuted.append(fold)
    return proved, refuted
