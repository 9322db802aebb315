"""The tensors of a checkpoint as discovery needs them: which axis of which tensor in memory each of their axes is."""

from __future__ import annotations

import dataclasses
import math
import re

import torch

from .file_names import Along, Provenance, file_tensors


class CannotTell(Exception):
    """Of a tensor: the row format has no words for what it is."""


@dataclasses.dataclass
class FileTensor:
    name: str
    shape: tuple[int, ...]
    memory: str
    axes: tuple[int | None, ...]  # of the tensor in memory; None: an axis of length 1, or one made of several
    indices: tuple[torch.Tensor | None, ...]  # along each axis, where in the tensor in memory it stands
    memories: tuple[str, ...]  # all that it is made of
    parts: tuple[Provenance, ...] = ()

    def rows_of(self, memory: str, axis: int) -> tuple[int | None, list[int]]:
        """The axis along which that of a tensor in memory runs, and where in the latter each entry stands; -1: it is of
        another tensor."""
        for part in self.parts:
            at = next((at for at, along in enumerate(part.axes) if [one.axis for one in along] == [axis]), None)
            if part.tensor == memory and at is not None:
                index = part.axes[at][0].index
                if part.rows_axis == at:
                    index = torch.full((self.shape[at],), -1).index_put((part.rows,), index)
                return at, index.tolist()
        return None, []

    def axis_of(self, memory_axis: int) -> int | None:
        return self.axes.index(memory_axis) if memory_axis in self.axes else None

    def is_whole(self, axis: int, length: int) -> bool:
        """The axis is that of the tensor in memory, entry by entry."""
        index = self.indices[axis]
        return index is not None and torch.equal(index, torch.arange(length))


def length_of(along: tuple[Along, ...]) -> int:
    return math.prod(len(one.index) for one in along)


def made_of(name: str, parts: list[Provenance]) -> FileTensor:
    """Of several parts, the first says what it is: they are alike, put together along one axis."""
    part = parts[0]
    shape = [length_of(along) for along in part.axes]
    axes = [along[0].axis if len(along) == 1 else None for along in part.axes]
    indices = [along[0].index if len(along) == 1 else None for along in part.axes]
    if len(parts) > 1:
        shape[part.rows_axis] = sum(len(one.rows) for one in parts)
        indices[part.rows_axis] = None
    memories = tuple(one.tensor for one in parts)
    return FileTensor(name, tuple(shape), part.tensor, tuple(axes), tuple(indices), memories, tuple(parts))


def files_of(model: torch.nn.Module, like: str = ".*") -> dict[str, FileTensor]:
    return {name: made_of(name, parts) for name, parts in file_tensors(model, like).items()}


def above(name: str) -> str:
    """The beginning of the names of its siblings, with the dot."""
    return name[: name.rfind(".") + 1]


def module_of(name: str) -> str:
    return re.sub(r"\.(weight|bias)$", "", name)
