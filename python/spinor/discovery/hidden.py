"""The last linears of MLPs, before which R4 turns: what writes the stream and reads neither an attention nor a scan."""

from __future__ import annotations

import dataclasses

from .attention import Attention
from .sites import Site
from .trace import Graph, Use

# Of mixers: what is computed along the tokens.
ALONG_TOKENS = {"convolution", "cumsum", "cumprod", "tril", "triu", "bmm", "baddbmm", "flip", "maximum"}


@dataclasses.dataclass
class Writer:
    use: Use
    kind: str  # "attention", "mixer" or "mlp"
    before: list[str]  # the nearest weights


def writers_of(graph: Graph, attentions: list[Attention], stream: list[Site], width: int) -> list[Writer]:
    """Products in layers whose output is added to the stream: by the sites of the stream, or else by their size."""
    sites = {(site.tensor, site.axis) for site in stream}
    outputs, found = after_attentions(graph, attentions), {}
    inner = {name for one in attentions for name in [*one.queries, *one.keys, *one.values]}
    for use in graph.uses:
        tensor = graph.trace.parameters[use.weight]
        if use.axis is None or tensor.dim() < 2 or use.weight in found or (use.weight, use.axis) in sites:
            continue
        others = [axis for axis in range(tensor.dim()) if axis != use.axis]
        if sites:
            writes = any((use.weight, axis) in sites for axis in others)
        else:
            writes = any(tensor.shape[axis] == width for axis in others) and use.weight not in inner
        if not writes:
            continue
        between, before = graph.back(use.activation, use.operation.index)
        names = {operation.name for operation in between}
        names |= {operation.name for operation in before.values()}
        kind = "attention" if use.weight in outputs else "mixer" if names & ALONG_TOKENS else "mlp"
        found[use.weight] = Writer(use, kind, list(before))
    return list(found.values())


def after_attentions(graph: Graph, attentions: list[Attention]) -> set[str]:
    """What reads attentions, and what reads the outputs of that and nothing else."""
    found = {attention.output.weight for attention in attentions}
    for use in graph.uses:
        before = graph.back(use.activation, use.operation.index)[1]
        if before and set(before) <= found and use.axis is not None and use.weight not in before:
            found.add(use.weight)
    return found


def routers_of(graph: Graph) -> list[str]:
    """Weights whose output chooses experts: a choice of the best (topk, argmax) that no attention makes."""
    found: dict[str, None] = {}
    for operation in graph.trace.operations:
        if operation.name in ("topk", "argmax", "max", "sort", "argsort") and operation.inputs[0].is_floating_point():
            between, before = graph.back(operation.inputs[0], operation.index)
            if len(before) == 1 and not any(other.name == "bmm" for other in between):
                found.update(dict.fromkeys(before))
    return list(found)
