"""From the tensors of a model in memory to those of its checkpoint, whose names and layouts are the published ones.

transformers converts weights when it loads a checkpoint (experts are stacked, projections merged, prefixes renamed) and
reverts that when it saves. Here every element in memory gets a number of its own, the numbers are saved, and what the
saved tensors hold says where each of their elements comes from: no table of conversions is read.
"""

import re
from dataclasses import dataclass

import torch
from transformers.core_model_loading import revert_weight_conversion
from transformers.modeling_utils import remove_tied_weights_from_state_dict

from spinor._errors import InputError


@dataclass(frozen=True)
class Along:
    """Along an axis of a file tensor runs `axis` of the memory tensor: element i of the former is `index[i]`."""

    axis: int
    index: torch.Tensor

    @property
    def begin(self) -> int:
        return int(self.index[0])

    @property
    def step(self) -> int | None:
        """From one element to the next, 1 where there is one; None where it is not the same everywhere."""
        steps = self.index.diff().unique()
        return int(steps) if len(steps) == 1 else None if len(steps) else 1


@dataclass(frozen=True)
class Provenance:
    """A file tensor, or the `rows` of it along `rows_axis`, are a part of the memory tensor `tensor`.

    `axes` has an entry for each axis of the file tensor: what of the memory tensor runs along it (the slower first
    where axes are merged; nothing along an axis of length 1). `fixed`: the axes of the memory tensor that do not run,
    and where they stand, such as the number of an expert.
    """

    tensor: str
    axes: tuple[tuple[Along, ...], ...]
    fixed: dict[int, int]
    rows_axis: int | None = None
    rows: torch.Tensor | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """The axes of the memory tensor in the order in which they stand in the file tensor."""
        return tuple(along.axis for axis in self.axes for along in axis)

    @property
    def same(self) -> bool:
        """The file tensor is the memory tensor, if by another name."""
        return (
            self.rows is None
            and not self.fixed
            and all(
                len(axis) < 2 and all(along.axis == at and along.begin == 0 and along.step == 1 for along in axis)
                for at, axis in enumerate(self.axes)
            )
        )


def file_tensors(model: torch.nn.Module, like: str = ".*") -> dict[str, list[Provenance]]:
    """For each tensor that `model.save_pretrained` would write under a name like this pattern, where it comes from: one
    part, or several where tensors in memory are put together. Of tied weights the one that is saved is named; what is
    not saved is not named. Raises InputError where a file tensor holds something that is no element of a tensor in
    memory."""
    files, memory = file_elements(model)
    first, shapes, total = {}, {}, 0
    for name, tensor in memory.items():
        first[name], shapes[name] = total, tuple(tensor.shape)
        total += tensor.numel()
    return {name: _parts(name, numbers, first, shapes) for name, numbers in files.items() if re.fullmatch(like, name)}


def file_elements(model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Of each tensor that would be written, which element in memory each of its own is, counted through all of the
    saved tensors in memory, which are the second. Raises InputError as file_tensors does."""
    memory = saved_state(model)
    numbered, total = {}, 0
    for name, tensor in memory.items():
        count = tensor.numel()
        numbered[name] = _coded(torch.arange(total, total + count)).reshape(tensor.shape)
        total += count
    files = revert_weight_conversion(model, numbered)
    return {name: _numbers(name, tensor, total) for name, tensor in files.items()}, memory


def saved_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What of the state of the model is saved."""
    state = dict(model.state_dict())
    for name in getattr(model, "_keys_to_ignore_on_save", None) or ():
        state.pop(name, None)
    return remove_tied_weights_from_state_dict(state, model)


def _coded(numbers: torch.Tensor) -> torch.Tensor:
    """Every third number, so that a value that is computed from another one is none of them."""
    return (3 * numbers + 1).to(torch.float64)


def _numbers(name: str, tensor: torch.Tensor, total: int) -> torch.Tensor:
    numbers = ((tensor.to(torch.float64) - 1) / 3).round().long()
    if not torch.equal(_coded(numbers), tensor.to(torch.float64)) or (numbers < 0).any() or (numbers >= total).any():
        raise InputError(name, "saving it computes values, it does not only move them")
    return numbers


def _parts(
    name: str, numbers: torch.Tensor, first: dict[str, int], shapes: dict[str, tuple[int, ...]]
) -> list[Provenance]:
    names = [n for n in first if 0 not in shapes[n]]
    starts = torch.tensor([first[n] for n in names])
    owners = torch.searchsorted(starts, numbers, right=True) - 1
    present = owners.unique().tolist()
    if len(present) == 1:
        owner = names[present[0]]
        return [_part(name, numbers - first[owner], owner, shapes[owner], None, None)]
    axis = _axis_of(name, owners)
    line = _line(owners, axis)
    parts = []
    for at in present:
        rows = (line == at).nonzero().flatten()
        owner = names[at]
        parts.append(_part(name, numbers.index_select(axis, rows) - first[owner], owner, shapes[owner], axis, rows))
    return parts


def _axis_of(name: str, owners: torch.Tensor) -> int:
    """The axis along which tensors in memory were put together."""
    for axis in range(owners.dim()):
        shape = [-1 if a == axis else 1 for a in range(owners.dim())]
        if (owners == _line(owners, axis).reshape(shape)).all():
            return axis
    raise InputError(name, "saving it mixes several tensors in more than one direction")


def _part(
    name: str,
    numbers: torch.Tensor,
    owner: str,
    shape: tuple[int, ...],
    rows_axis: int | None,
    rows: torch.Tensor | None,
) -> Provenance:
    """`numbers`, in the memory tensor `owner` of `shape`, as one index along every axis."""
    corner = numbers.flatten()[0]
    lines = [_line(numbers, axis) for axis in range(numbers.dim())]
    rebuilt = corner.clone()
    for axis, line in enumerate(lines):
        rebuilt = rebuilt + (line - corner).reshape([-1 if a == axis else 1 for a in range(numbers.dim())])
    if not torch.equal(rebuilt.expand(numbers.shape), numbers):
        raise InputError(name, f"it is no slice or permutation of {owner}")
    at = torch.unravel_index(corner, shape)
    axes, running = [], set()
    for line in lines:
        places = torch.unravel_index(line, shape)
        along = tuple(Along(axis, place) for axis, place in enumerate(places) if (place != place[0]).any())
        axes.append(along)
        running |= {x.axis for x in along}
    fixed = {axis: int(place) for axis, place in enumerate(at) if axis not in running and shape[axis] > 1}
    return Provenance(owner, tuple(axes), fixed, rows_axis, rows)


def _line(numbers: torch.Tensor, axis: int) -> torch.Tensor:
    return numbers.movedim(axis, 0).flatten(1)[:, 0] if numbers.dim() > 1 else numbers
