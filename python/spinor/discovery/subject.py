"""A tiny model under test: its tensors, its logits, how they answer to changes."""

from __future__ import annotations

import torch

from .float64 import widened
from .sites import Site, Tensors
from .trace import Trace

EXACT = 1e-9  # of the logits' deviation: float64 leaves 1e-13, and anything that is wrong moves them by 1e-2 and more


MASKED = 1e30  # and above: what a class puts in the place of logits that may not be chosen


def difference(before: torch.Tensor, after: torch.Tensor) -> float:
    """The largest of two models' logits, in their standard deviations."""
    kept = before.abs() < MASKED
    if not torch.equal(kept, after.abs() < MASKED) or not kept.any():
        return float("inf")
    return float((after - before)[kept].abs().max() / before[kept].std())


class Subject:
    def __init__(self, model: torch.nn.Module, inputs: Tensors):
        self.model, self.inputs = model, inputs
        self.parameters = {name: value for name, value in model.named_parameters() if value.is_floating_point()}
        self.buffers = {name: value for name, value in model.named_buffers()
                        if value.is_floating_point() and value.numel() > 1}
        self.tensors: Tensors = self.parameters | self.buffers
        for value in self.tensors.values():
            value.requires_grad_(False)
        self.start = self.logits()

    def forward(self) -> torch.Tensor:
        return self.model(**self.inputs, use_cache=False).logits

    @torch.no_grad()
    def logits(self) -> torch.Tensor:
        with widened():
            return self.forward()

    def moved(self, since: torch.Tensor | None = None) -> float:
        """How far the logits are from what they were, the largest, in their standard deviations."""
        return difference(self.start if since is None else since, self.logits())

    def trace(self) -> Trace:
        trace = Trace(self.model, self.tensors)
        with torch.no_grad(), widened(), trace:
            self.forward()
        return trace

    def state(self) -> Tensors:
        return {name: value.detach().clone() for name, value in self.tensors.items()}

    @torch.no_grad()
    def restore(self, state: Tensors) -> None:
        for name, value in self.tensors.items():
            value.copy_(state[name])

    def turn(self, sites: list[Site], rotation: torch.Tensor) -> None:
        for site in sites:
            site.turn(self.tensors[site.tensor], rotation)

    def gradients(self, count: int, seed: int = 5) -> Tensors:
        """Of `count` random functionals of the logits: (count, ...) for each tensor."""
        try:
            return self._gradients(self.tensors, count, seed)
        except RuntimeError:  # a buffer that is changed in place
            return self._gradients(self.parameters, count, seed)

    def _gradients(self, leaves: Tensors, count: int, seed: int) -> Tensors:
        generator = torch.Generator().manual_seed(seed)
        found = {name: [torch.zeros_like(value)] * count for name, value in self.tensors.items()}
        for value in leaves.values():
            value.requires_grad_(True)
        try:
            with torch.enable_grad():
                with widened():
                    logits = self.forward()
                for i in range(count):
                    functional = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
                    values = torch.autograd.grad((logits * functional).sum(), list(leaves.values()),
                                                 retain_graph=i + 1 < count, allow_unused=True)
                    for name, value in zip(leaves, values, strict=True):
                        if value is not None:
                            found[name] = [*found[name][:i], value, *found[name][i + 1 :]]
        finally:
            for value in leaves.values():
                value.requires_grad_(False)
        return {name: torch.stack(values) for name, values in found.items()}
