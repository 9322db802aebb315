"""The softmax attentions of a forward pass: what goes in, and the weights around them."""

from __future__ import annotations

import dataclasses

import torch

from .trace import SAME_VALUES, Graph, Operation, Use

BATCHED = {"bmm", "baddbmm"}
KEEP_PROBABILITIES = frozenset({"mul", "sub", "cat", "nan_to_num", "where", "masked_fill", "split", "narrow"})
CLIPS = {"clamp", "clamp_", "clamp_min", "clamp_max", "hardtanh", "relu", "threshold"}
STRUCTURAL = SAME_VALUES | BATCHED | {"cat", "stack", "split", "split_with_sizes", "unbind", "empty", "zeros", "ones",
                                      "new_zeros", "zeros_like", "empty_like", "arange", "full", "copy_", "index_copy_",
                                      "narrow", "chunk"}


@dataclasses.dataclass
class Attention:
    """One call: the weights nearest to queries, keys and values, and the one that reads the result."""

    output: Use
    product: Operation  # probabilities times values
    queries: list[str]
    keys: list[str]
    values: list[str]
    head_dim: int
    before: list[Operation]  # on the way of the values, that are more than a choice of entries
    after: list[Operation]

    @property
    def clips(self) -> bool:
        return any(operation.name in CLIPS for operation in self.before + self.after)


def probabilities_times_values(graph: Graph, softmax: Operation) -> Operation | None:
    """Through dropout, casts, a sink that is cut off."""
    products = [operation for operation in graph.consumers(softmax.outputs[0], KEEP_PROBABILITIES)
                if operation.name in BATCHED]
    return products[0] if products else None


def scores_of(graph: Graph, softmax: Operation) -> Operation | None:
    between, _ = graph.back(softmax.inputs[0], softmax.index)
    products = [operation for operation in between if operation.name in BATCHED]
    return products[-1] if products else None


def attentions_of(graph: Graph) -> list[Attention]:
    """Of each product that reads the result of one, the first call."""
    calls = {}
    for softmax in graph.trace.operations:
        if softmax.name in ("_softmax", "softmax") and (product := probabilities_times_values(graph, softmax)):
            calls[product.index] = (softmax, product)
    found = {}
    for use in graph.uses:
        if use.axis is None or use.weight in found:
            continue
        between, _ = graph.back(use.activation, use.operation.index)
        mine = [calls[operation.index] for operation in between if operation.index in calls]
        if mine:
            found[use.weight] = make(graph, use, *mine[-1], between)
    return list(found.values())


def make(graph: Graph, use: Use, softmax: Operation, product: Operation, between: list[Operation]) -> Attention:
    scores = scores_of(graph, softmax)
    queries, keys = (weights_before(graph, value, scores) for value in scores.inputs[-2:]) if scores else ([], [])
    before, values = graph.back(product.inputs[-1], product.index)
    after = [operation for operation in between if operation.index > product.index]
    return Attention(use, product, queries, keys, list(values), product.inputs[-1].shape[-1],
                     [operation for operation in before if operation.name not in STRUCTURAL],
                     [operation for operation in after if operation.name not in STRUCTURAL])


def weights_before(graph: Graph, value: torch.Tensor, operation: Operation) -> list[str]:
    return list(graph.back(value, operation.index)[1])
