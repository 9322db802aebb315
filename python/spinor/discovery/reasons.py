"""Why the residual stream of a model cannot be turned: scales that would have to be constant, or the first operation
that does not commute."""

from __future__ import annotations

import dataclasses
import re

import torch

from .folds import Fold, scales_of
from .sites import Site, orthogonal, sites_of
from .stream import PROOF_SEED, StreamFinding, StreamSearch
from .subject import EXACT, Subject
from .trace import Graph, Operation

SAME = 1e-7  # of the largest number of a tensor: what a rotation left alone, in float64


@dataclasses.dataclass
class Reason:
    text: str
    scales: list[str] = dataclasses.field(default_factory=list)  # if these were constant, the stream could be turned
    stream: StreamFinding | None = None  # as it then is


def template(name: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".N", name)


def reason_of(subject: Subject, graph: Graph, folded: list[Fold], search: StreamSearch) -> Reason:
    """Of a subject with its norms folded, which is left as it is."""
    before = subject.state()
    scales = left_over(subject, graph, folded, search.width)
    if scales:
        reason = constant_scales(subject, search, scales, before)
        subject.restore(before)
        if reason:
            return reason
    broken = first_broken(subject, search.width, before)
    subject.restore(before)
    return Reason("; ".join(broken[:3]) or "no set of axes was found that can be turned together")


def left_over(subject: Subject, graph: Graph, folded: list[Fold], width: int) -> list[str]:
    moved = {fold.norm for fold in folded}
    found = {operation.sources[place] for operation, place in scales_of(graph)} - moved
    return sorted(name for name in found if subject.tensors[name].numel() % width == 0)


@torch.no_grad()
def constant_scales(subject: Subject, search: StreamSearch, scales: list[str], before) -> Reason | None:
    for name in scales:
        subject.tensors[name].fill_(float(subject.tensors[name].mean()))
    finding = search.find()
    if not finding.proved:
        return None
    constant, guilty = subject.state(), []
    rotation = orthogonal(search.width, PROOF_SEED, finding.keeps_mean)
    for name in scales:
        subject.tensors[name].copy_(before[name])
        base = subject.logits()
        subject.turn(finding.sites, rotation)
        if not subject.moved(base) < EXACT:
            guilty.append(name)
        subject.restore(constant)
    names = ", ".join(dict.fromkeys(template(name) for name in guilty))
    return Reason(f"{names} scale what enters the residual stream", guilty, finding)


class Labels:
    """What became of each tensor when the stream was turned: I (the same), R (turned), Q (squared), X (neither)."""

    def __init__(self, rotation: torch.Tensor):
        self.rotation, self.known = rotation, {}

    def of(self, before: torch.Tensor, after: torch.Tensor) -> str:
        if not before.is_floating_point() or not before.numel():
            return "I"
        finite = before.abs() < 1e30
        before, after = torch.where(finite, before, 0.0), torch.where(finite, after, 0.0)
        near = SAME * float(before.abs().max()) + 1e-30
        if float((before - after).abs().max()) <= near:
            return "I"
        size = len(self.rotation)
        for axis, length in enumerate(before.shape):
            if length and length % size == 0:
                moved = before.movedim(axis, -1)
                turned = (moved.reshape(*moved.shape[:-1], -1, size) @ self.rotation).reshape(moved.shape)
                if float((turned.movedim(-1, axis) - after).abs().max()) <= 10 * near:
                    return "R"
        return "X"


def first_broken(subject: Subject, width: int, before) -> list[str]:
    """The first operations whose results are neither the same nor turned, if all axes of that size were."""
    tensors = subject.tensors
    sites: list[Site] = [site for site in sites_of(tensors, width)
                         if site.size == site.whole and tensors[site.tensor].dim() > 1]
    plain = subject.trace()
    kept = [[value.detach().clone() for value in operation.outputs] for operation in plain.operations]
    rotation = orthogonal(width, PROOF_SEED, keeps_mean=True)
    subject.turn(sites, rotation)
    turned = subject.trace()
    subject.restore(before)
    labels, broken = Labels(rotation), []
    for operation, other, values in zip(plain.operations, turned.operations, kept, strict=False):
        if operation.name != other.name:
            break
        inputs = ["P" if source else labels.known.get(id(value), "I")
                  for value, source in zip(operation.inputs, operation.sources, strict=True)]
        for output, value, changed in zip(operation.outputs, values, other.outputs, strict=False):
            if value.shape != changed.shape:
                return broken
            label = labels.of(value, changed)
            if label == "X" and is_square(operation, inputs):
                label = "Q"
            labels.known[id(output)] = label
            if label == "X" and "X" not in inputs and operation.sources[0] is None:
                text = f"{template(operation.module)}: {operation.name} does not commute with a rotation"
                if text not in broken:
                    broken.append(text)
    return broken


def is_square(operation: Operation, inputs: list[str]) -> bool:
    return inputs[:1] == ["R"] and (operation.name == "pow"
                                    or (operation.name == "mul" and operation.inputs[0] is operation.inputs[-1]))
