"""Rotations of each head's values (R2): between the weights that make them and the weight that reads the attention.

As for the stream (stream.py), moments tell: the skew part of the moment of a head's block of the output is minus that
of the rows of a weight that are its values. Which rows, and for which heads, is a problem of least squares over all
windows of the size of a head. Layers that share values are solved together.
"""

from __future__ import annotations

import dataclasses

import torch

from .attention import Attention
from .sites import Site, Tensors, orthogonal, skew, whole_axis
from .stream import SMALL
from .subject import EXACT, Subject

FUNCTIONALS = 3
MOST_NAMED = 6  # operations, in a reason
LARGEST_AXIS = 2048  # of a tiny model; a vocabulary is no axis of values


@dataclasses.dataclass
class Values:
    """Rows that are the values of some heads: of a weight, and of its bias."""

    sites: list[Site]
    heads: list[tuple[str, int]]  # (output, head)


@dataclasses.dataclass
class ValuesFinding:
    found: dict[str, list[Values]] = dataclasses.field(default_factory=dict)  # by output; joint ones in each of them
    refused: dict[str, str] = dataclasses.field(default_factory=dict)  # by output: the reason
    error: float = 0.0

    @property
    def proved(self) -> bool:
        return bool(self.found) and self.error < EXACT


@dataclasses.dataclass
class Candidate:
    sites: list[Site]  # whole axes
    moment: torch.Tensor  # (T, size, size), skew


class ValuesSearch:
    def __init__(self, subject: Subject, attentions: list[Attention]):
        self.subject, self.attentions = subject, attentions

    def find(self) -> ValuesFinding:
        base = self.subject.logits()
        gradients = self.subject.gradients(FUNCTIONALS, seed=9)
        finding = ValuesFinding()
        for group in sharing(self.attentions):
            for attention in group:
                if attention.clips:
                    finding.refused[attention.output.weight] = "the values are clipped: " + reason_of(attention)
            if any(attention.clips for attention in group):
                continue
            values = self._solve(group, gradients)
            for attention in group:
                output = attention.output.weight
                mine = [value for value in values if any(name == output for name, _ in value.heads)]
                if covers(mine, output, self._heads(attention)):
                    finding.found[output] = mine
                else:
                    finding.refused[output] = reason_of(attention)
        finding.error = self._error(finding, base)
        return finding

    def _heads(self, attention: Attention) -> int:
        return self.subject.tensors[attention.output.weight].shape[attention.output.axis] // attention.head_dim

    def _solve(self, group: list[Attention], gradients: Tensors) -> list[Values]:
        size, tensors = group[0].head_dim, self.subject.tensors
        blocks = []
        for attention in group:
            name, axis = attention.output.weight, attention.output.axis
            whole = tensors[name].shape[axis]
            if attention.head_dim != size or whole % size:
                return []
            moment = skew(whole_axis(name, tensors[name], axis).moment(tensors[name], gradients[name]))
            blocks += [((name, head), moment[:, head * size : (head + 1) * size, head * size : (head + 1) * size])
                       for head in range(whole // size)]
        matrix = torch.stack([block.reshape(-1) for _, block in blocks], 1)
        norms = matrix.norm(dim=0)
        if float(norms.min()) < 1e-12 * float(norms.max()) or matrix.shape[1] > matrix.shape[0] // 2:
            return []
        inverse, found = torch.linalg.pinv(matrix), []
        for candidate in self._candidates(group, gradients):
            found += windows(candidate, size, matrix, inverse, [head for head, _ in blocks])
        return found

    def _candidates(self, group: list[Attention], gradients: Tensors):
        tensors = self.subject.tensors
        outputs = {(attention.output.weight, attention.output.axis) for attention in group}
        for name in dict.fromkeys(name for attention in group for name in attention.values):
            for axis, length in enumerate(tensors[name].shape):
                if (name, axis) in outputs or not 4 <= length <= LARGEST_AXIS:
                    continue
                sites = [whole_axis(name, tensors[name], axis)]
                bias = bias_of(name)
                if bias in tensors and tensors[bias].shape[-1] == length:
                    sites.append(whole_axis(bias, tensors[bias], tensors[bias].dim() - 1))
                moment = sum(site.moment(tensors[site.tensor], gradients[site.tensor]) for site in sites)
                yield Candidate(sites, skew(moment))

    def _error(self, finding: ValuesFinding, base: torch.Tensor) -> float:
        before, done = self.subject.state(), set()
        outputs = {attention.output.weight: attention for attention in self.attentions}
        for values in finding.found.values():
            for value in values:
                if id(value) in done:
                    continue
                done.add(id(value))
                size = value.sites[0].size
                rotation = orthogonal(size, 100 + len(done))
                heads = [Site(name, outputs[name].output.axis, head * size, size, 0) for name, head in value.heads]
                self.subject.turn(value.sites + heads, rotation)
        error = self.subject.moved(base)
        self.subject.restore(before)
        return error


def windows(candidate: Candidate, size: int, matrix, inverse, heads) -> list[Values]:
    """Rows [i, i + size) whose moment is minus the sum of some heads' moments."""
    length = candidate.moment.shape[-1]
    if length < size:
        return []
    parts = torch.stack([candidate.moment[:, i : i + size, i : i + size].reshape(-1)
                         for i in range(length - size + 1)], 1)
    norms = parts.norm(dim=0)
    taken = inverse @ parts
    exact = ((matrix @ taken - parts).norm(dim=0) < SMALL * norms) & (norms > 1e-9 * matrix.norm())
    found = []
    for i in exact.nonzero().flatten().tolist():
        values = taken[:, i]
        chosen = [head for head, value in zip(heads, values, strict=True) if value < -0.5]
        if chosen and float(torch.minimum(values.abs(), (values + 1).abs()).max()) < 1e-4:
            found.append(Values([dataclasses.replace(site, begin=i, size=size) for site in candidate.sites], chosen))
    return found


def covers(values: list[Values], output: str, heads: int) -> bool:
    return sorted(head for value in values for name, head in value.heads if name == output) == list(range(heads))


def sharing(attentions: list[Attention]) -> list[list[Attention]]:
    """Groups of those whose values come from the same weights."""
    groups: list[tuple[set[str], list[Attention]]] = []
    for attention in attentions:
        names, members = set(attention.values), [attention]
        for group in [group for group in groups if group[0] & names]:
            groups.remove(group)
            names, members = names | group[0], group[1] + members
        groups.append((names, members))
    return [members for _, members in groups]


def bias_of(weight: str) -> str:
    return weight[: -len("weight")] + "bias" if weight.endswith(".weight") else weight + "_bias"


def reason_of(attention: Attention) -> str:
    def listed(operations):
        names = list(dict.fromkeys(operation.name for operation in operations))
        return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")

    reasons = []
    if attention.after:
        reasons.append("after the attention: " + listed(attention.after))
    if attention.before:
        reasons.append("on the values: " + listed(attention.before))
    return "; ".join(reasons) or "the values come from " + ", ".join(sorted(attention.values))
