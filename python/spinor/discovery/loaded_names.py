"""What modules are called in memory, where a file calls them otherwise."""

from __future__ import annotations

import re

import torch

from .files import FileTensor, module_of
from .roles import Roles

NUMBERS = re.compile(r"(?<=\.)\d+(?=\.)")
EXPERT = re.compile(r"experts\.\d+\.")

def loaded_as(roles: Roles) -> dict[str, str]:
    """Beginnings of names in files, and what they are in memory, the longest first; and the whole names of linears that
    no beginning tells, with {N} for their numbers. Empty: one of several that are put together, or what is taken apart;
    experts are not named."""
    modules = roles.findings.subject.model.named_modules()
    linears = {name + "." for name, module in modules if isinstance(module, torch.nn.Linear)}
    linears |= {module_of(role.weight.memory) + "." for role in roles.linears.values()}  # of other classes, too
    found = _beginnings(roles.files)
    whole: dict[str, dict[str, str]] = {}  # by the name with {N}, of all that are so
    for name, tensor in roles.files.items():
        stored, loaded = module_of(name) + ".", module_of(tensor.memory) + "."
        if not name.endswith(".weight") or EXPERT.search(name):
            continue
        if not _is_one(tensor, roles):
            whole.setdefault(with_any_numbers(stored), {})[stored] = ""
        elif len(tensor.shape) == 2 and loaded in linears and _begun_anew(found, stored) != loaded:
            whole.setdefault(with_any_numbers(stored), {})[stored] = loaded
    for pattern, names in whole.items():
        found |= _in_one(pattern, names) or names
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _in_one(pattern: str, names: dict[str, str]) -> dict[str, str]:
    """One line for all numbers, where they are the same in memory; else nothing."""
    numbers = {stored: NUMBERS.findall(stored) for stored in names}
    alike = all(not loaded or NUMBERS.findall(loaded) == numbers[stored] for stored, loaded in names.items())
    others = {with_any_numbers(loaded) for loaded in names.values()}
    return {pattern: others.pop()} if alike and len(others) == 1 else {}


def with_any_numbers(name: str) -> str:
    return ".".join("{N}" if part.isdigit() else part for part in name.split("."))


def _is_one(tensor: FileTensor, roles: Roles) -> bool:
    """A module in memory, too: neither put together of several nor a piece of one."""
    return len(tensor.memories) == 1 and len(roles.of_memory[tensor.memory]) == 1


def _begun_anew(beginnings: dict[str, str], name: str) -> str:
    for stored in sorted(beginnings, key=len, reverse=True):
        if name.startswith(stored):
            return beginnings[stored] + name[len(stored) :]
    return name


def _beginnings(files: dict[str, FileTensor]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, tensor in files.items():
        stored, loaded = name.split("."), tensor.memory.split(".")
        while stored and loaded and stored[-1] == loaded[-1]:
            stored.pop()
            loaded.pop()
        if not stored or not loaded:  # a beginning that is not there at all: with the first component that is
            first = name.split(".")[len(stored)]
            stored, loaded = [*stored, first], [*loaded, first]
        beginning, other = (".".join(parts) + "." for parts in (stored, loaded))
        if beginning != other and not re.search(r"\.\d", beginning + other) and len(stored) + len(loaded) < 6:
            found[beginning] = other
    return found
