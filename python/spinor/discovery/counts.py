"""Modules and tensors that are numbered in their names, as many as some keys of config.json say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

PIECES = "pieces"  # of one tensor in memory, which files have in several
UNEVEN = "uneven"  # in a layer, as many as no key alone says
NUMBER = re.compile(r"(.*[._])(\d+)((?:\.[A-Za-z_]\w*)*)")


def numbered(name: str) -> str | None:
    """With {E} in the place of its last number."""
    found = NUMBER.fullmatch(name)
    return f"{found[1]}{{E}}{found[3]}" if found else None


def templates(name: str) -> list[str]:
    """With {E} in the place of each of its numbers."""
    return [name[: found.start()] + "{E}" + name[found.end() :] for found in re.finditer(r"(?<=\.)\d+(?=\.|$)", name)]


def uneven(first: Iterable[tuple[int | None, str]], second: Iterable[tuple[int | None, str]]) -> set[str]:
    """Of the modules in layers of two models, (layer, name), those of which the layers have not as many in both."""
    ones, others = most_in_a_layer(first), most_in_a_layer(second)
    return {name for name in ones.keys() & others.keys() if ones[name] != others[name]}


def most_in_a_layer(places: Iterable[tuple[int | None, str]]) -> dict[str, int]:
    found = Counter((layer, one) for layer, name in places if layer is not None for one in templates(name))
    most: dict[str, int] = {}
    for (_, one), count in found.items():
        most[one] = max(most.get(one, 0), count)
    return most


def counts_of(names: Iterable[str]) -> Counter[str]:
    return Counter(filter(None, map(numbered, names)))
