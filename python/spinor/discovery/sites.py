"""An axis of a tensor, or a block of it, on which a rotation or a scale acts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Site:
    """Entries [begin, begin + size) of an axis that has `whole`."""

    tensor: str
    axis: int
    begin: int
    size: int
    whole: int

    def __str__(self):
        return f"{self.tensor}[{self.axis}]" + ("" if self.size == self.whole else f"@{self.begin}")

    def rows(self, tensor: torch.Tensor, leading: int = 0) -> torch.Tensor:
        """The vectors along the axis, (leading..., count, size)."""
        moved = tensor.movedim(self.axis + leading, -1)
        return moved.reshape(*moved.shape[:leading], -1, moved.shape[-1])[..., self.begin : self.begin + self.size]

    def moment(self, weight: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
        """W'G of each of T gradients: (T, size, size). Turning the axis by exp(eA) changes the loss by e<W'G, A>."""
        return self.rows(weight.detach()).T @ self.rows(gradients, 1)

    @torch.no_grad()
    def turn(self, tensor: torch.Tensor, rotation: torch.Tensor) -> None:
        """Vectors x along the axis become x R, in place."""
        moved = tensor.detach().movedim(self.axis, -1)
        part = moved[..., self.begin : self.begin + self.size]
        part.copy_(part @ rotation)

    @torch.no_grad()
    def scale(self, tensor: torch.Tensor, by: torch.Tensor) -> None:
        moved = tensor.detach().movedim(self.axis, -1)
        moved[..., self.begin : self.begin + self.size] *= by


def whole_axis(name: str, tensor: torch.Tensor, axis: int) -> Site:
    return Site(name, axis, 0, tensor.shape[axis], tensor.shape[axis])


def blocks(name: str, tensor: torch.Tensor, axis: int, size: int) -> list[Site]:
    """An axis that is some times as long, block by block."""
    whole = tensor.shape[axis]
    return [Site(name, axis, begin, size, whole) for begin in range(0, whole, size)]


MOST_BLOCKS = 8  # streams side by side, or vectors that one weight reads side by side


def sites_of(tensors: Tensors, size: int) -> Iterable[Site]:
    for name, tensor in tensors.items():
        for axis, length in enumerate(tensor.shape):
            if length % size == 0 and 1 <= length // size <= MOST_BLOCKS:
                yield from blocks(name, tensor, axis, size)


def orthogonal(size: int, seed: int, keeps_mean: bool = False) -> torch.Tensor:
    """Random, in float64; where it keeps the mean, the vector of ones is an eigenvector."""
    generator = torch.Generator().manual_seed(seed)

    def gaussian(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if not keeps_mean:
        return torch.linalg.qr(gaussian(size, size))[0]
    basis = torch.linalg.qr(torch.cat([torch.ones(size, 1, dtype=torch.float64), gaussian(size, size - 1)], 1))[0]
    inner = torch.eye(size, dtype=torch.float64)
    inner[1:, 1:] = torch.linalg.qr(gaussian(size - 1, size - 1))[0]
    return basis @ inner @ basis.T


def skew(moments: torch.Tensor) -> torch.Tensor:
    return moments - moments.transpose(-1, -2)
