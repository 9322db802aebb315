"""Whether a proof is blind to something: each site of a rotation left out once, as a program would that forgets it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from .file_names import file_elements

_NUMBER = r"(?<=\.)\d+(?=\.|$)"


@torch.no_grad()
def each_left_out(before: torch.nn.Module, after: torch.nn.Module) -> Iterator[str]:
    """Yields each role of tensors that were rotated, while those of one layer are in `after` what they are in `before`:
    what a program would have written that forgets them. Roles are names in the files, without numbers."""
    files, memory = file_elements(before)
    state = after.state_dict()
    old, new = _flat(before.state_dict(), memory), _flat(state, memory)
    for role, elements in _one_of_each(files, old != new).items():
        _write(state, memory, new.index_put((elements,), old[elements]))
        yield role
    _write(state, memory, new)


def role_of(name: str) -> str:
    return re.sub(_NUMBER, "{}", name)


def _one_of_each(files: dict[str, torch.Tensor], differs: torch.Tensor) -> dict[str, torch.Tensor]:
    """{role: elements of the first layer that has it, and of all of its experts}"""
    found = {}
    for name, elements in sorted(files.items(), key=lambda item: _layer_of(item[0])):
        if differs[elements].any():
            layer, parts = found.setdefault(role_of(name), (_layer_of(name), []))
            if layer == _layer_of(name):
                parts.append(elements.flatten())
    return {role: torch.cat(parts) for role, (_, parts) in found.items()}


def _layer_of(name: str) -> int:
    return int((re.findall(_NUMBER, name) or ["0"])[0])


def _flat(state: dict, names: list[str]) -> torch.Tensor:
    return torch.cat([state[name].flatten().double() for name in names])


def _write(state: dict, names: list[str], values: torch.Tensor) -> None:
    parts = values.split([state[name].numel() for name in names])
    for name, part in zip(names, parts, strict=True):
        state[name].copy_(part.reshape(state[name].shape))
