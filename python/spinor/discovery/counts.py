"""Modules and tensors that are numbered in their names, as many as some keys of config.json say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

PIECES = "pieces"  # of one tensor in memory, which files have in several
NUMBER = re.compile(r"(.*[._])(\d+)((?:\.[A-Za-z_]\w*)*)")


def numbered(name: str) -> str | None:
    """With {E} in the place of its last number."""
    found = NUMBER.fullmatch(name)
    return f"{found[1]}{{E}}{found[3]}" if found else None


def counts_of(names: Iterable[str]) -> Counter[str]:
    return Counter(filter(None, map(numbered, names)))
