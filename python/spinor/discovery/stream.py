"""The residual stream: the set of axes that a rotation may turn together (R1), found by linear response.

For a functional L of the logits and a weight W with gradient G, turning an axis by exp(eA) changes L by e<W'G, A>. A
rotation of a set of axes leaves the function alone only if the skew parts of their moments add up to zero: one problem
of least squares, anchored at what the head reads, whose coefficients are 0 or 1. Then it is proved by numbers.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import torch

from .sites import Site, Tensors, orthogonal, sites_of, skew, whole_axis
from .subject import EXACT, Subject
from .trace import Graph

FUNCTIONALS = 3
ZERO = 1e-12  # of a product of norms: moments are sums of float64 products
FREE = 1e-11  # of the largest moment: what may turn as it likes, a bias of keys where all scores gain the same
SMALL = 1e-7  # a residual of least squares that is zero, relative
PROOF_SEED = 11
OTHER_PARTS = re.compile(r"vision|visual|image|audio|projector|qformer")  # of a model, than the language model


@dataclasses.dataclass
class StreamFinding:
    width: int
    sites: list[Site] = dataclasses.field(default_factory=list)  # empty: none was found
    keeps_mean: bool = False
    error: float = float("inf")  # of the proof, in deviations of the logits

    @property
    def proved(self) -> bool:
        return bool(self.sites) and self.error < EXACT


def layer_of(name: str) -> str | None:
    match = re.search(r"\.(\d+)\.", name)
    return match[1] if match else None


class StreamSearch:
    def __init__(self, subject: Subject, graph: Graph):
        self.subject, self.graph = subject, graph
        self.widths = self._widths()
        self.width = self.widths[0]

    def find(self) -> StreamFinding:
        """Of the subject as it is now; its tensors are left as they are."""
        base = self.subject.logits()
        gradients = self.subject.gradients(FUNCTIONALS)
        best = StreamFinding(self.widths[0])
        for self.width in self.widths:
            best = min(best, self._find(gradients, base), key=lambda finding: finding.error)
            if best.proved:
                break
        if not best.sites:
            best.width = self.widths[-1]
        self.width = best.width
        return best

    def _find(self, gradients: Tensors, base: torch.Tensor) -> StreamFinding:
        finding = StreamFinding(self.width)
        for anchor in self._anchors():
            for keeps_mean in (False, True):
                sites = self._propose(gradients, anchor, keeps_mean)
                if not sites or not self._reaches_all_layers(sites, gradients):
                    continue
                sites = self._with_same_inputs(sites)
                error = self._error(sites, keeps_mean, base)
                if error < finding.error:
                    finding = StreamFinding(self.width, sites, keeps_mean, error)
                if finding.proved:
                    return finding
        return finding

    def _widths(self) -> list[int]:
        """What the head reads; where that is an outer projection, what most axes of the layers' weights are."""
        counts = Counter(size for name, value in self.subject.parameters.items()
                         if layer_of(name) is not None and value.numel() > max(value.shape)
                         and not OTHER_PARTS.search(name) for size in set(value.shape))
        read = [self.subject.tensors[use.weight].shape[use.axis] for use in self._outer_uses()[:1]]
        return list(dict.fromkeys([*read, *(size for size, _ in counts.most_common(1))]))

    def _outer_uses(self):
        return [use for use in reversed(self.graph.uses) if use.axis is not None and layer_of(use.weight) is None]

    def _anchors(self) -> list[tuple[str, int]]:
        tensors = self.subject.parameters
        readers = [use for use in [*self._outer_uses(), *self.graph.uses] if use.axis is not None]
        anchors = [(use.weight, use.axis) for use in readers if use.weight in tensors
                   and tensors[use.weight].shape[use.axis] == self.width][:1]
        embedding = getattr(self.subject.model.get_input_embeddings(), "weight", None)
        return anchors + [(name, 1) for name, value in tensors.items()
                          if value is embedding and value.shape[1] == self.width]

    def _propose(self, gradients: Tensors, anchor, keeps_mean: bool) -> list[Site]:
        size, tensors = self.width, self.subject.tensors
        centre = torch.eye(size, dtype=torch.float64) - (1.0 / size if keeps_mean else 0.0)
        upper = torch.triu_indices(size, size, 1)
        sites, columns = [], []
        for site in sites_of(tensors, size):
            gradient = gradients[site.tensor]
            moment = centre @ skew(site.moment(tensors[site.tensor], gradient)) @ centre
            column = moment[:, upper[0], upper[1]].reshape(-1)
            if float(column.norm()) > ZERO * float(tensors[site.tensor].norm() * gradient.norm()):
                sites.append(site)
                columns.append(column)
        largest = max((float(column.norm()) for column in columns), default=0.0)
        kept = [i for i, column in enumerate(columns) if float(column.norm()) > FREE * largest]
        sites, columns = [sites[i] for i in kept], [columns[i] for i in kept]
        first = next((i for i, site in enumerate(sites) if (site.tensor, site.axis) == anchor), None)
        if first is None or len(sites) < 2:
            return []
        rest = [i for i in range(len(sites)) if i != first]
        matrix = torch.stack(columns, 1)
        taken = least_squares(matrix[:, rest], -matrix[:, first])
        chosen = [first, *(i for i, value in zip(rest, taken, strict=True) if value > 0.5)]
        return [sites[i] for i in chosen]

    def _reaches_all_layers(self, sites: list[Site], gradients: Tensors) -> bool:
        layers = {layer_of(name) for name, value in gradients.items() if float(value.abs().max()) > 0}
        return {layer_of(site.tensor) for site in sites} >= layers - {None}

    def _with_same_inputs(self, sites: list[Site]) -> list[Site]:
        """With the axes without a gradient that read what one of the sites reads: routers, indexers."""
        together: dict[int, set] = {}
        for use in self.graph.uses:
            if use.axis is not None:
                together.setdefault(id(self.graph.root(use.activation)), set()).add((use.weight, use.axis))
        have, found = {(site.tensor, site.axis) for site in sites}, list(sites)
        for group in together.values():
            if group & have:
                for name, axis in sorted(group - have):
                    if self.subject.tensors[name].shape[axis] == self.width:
                        found.append(whole_axis(name, self.subject.tensors[name], axis))
                        have.add((name, axis))
        return found

    def _error(self, sites: list[Site], keeps_mean: bool, base: torch.Tensor) -> float:
        before = self.subject.state()
        self.subject.turn(sites, orthogonal(self.width, PROOF_SEED, keeps_mean))
        error = self.subject.moved(base)
        self.subject.restore(before)
        return error


def least_squares(matrix: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    norms = matrix.norm(dim=0).clamp_min(1e-300)
    solution = torch.linalg.lstsq(matrix / norms, target.unsqueeze(1), driver="gelsd", rcond=1e-11).solution[:, 0]
    return solution / norms
