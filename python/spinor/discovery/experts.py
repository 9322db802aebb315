"""How many experts there are: stacked in one tensor, or numbered in names."""

from __future__ import annotations

import re

from .counts import UNEVEN
from .files import CannotTell, module_of
from .lengths import ANY, Lengths, Sample
from .roles import LinearRole
from .split import Stack, split_of


class Experts:
    """`formula`: the number that a row's `experts` says, that of the first stack, or of the experts that have all of
    their linears; empty where there are none. Raises CannotTell."""

    def __init__(self, samples: list[Sample], lengths: Lengths):
        self.samples, self.lengths = samples, lengths
        self.numbers: list[int] = []
        self.formula = self._stacked() or self._numbered()

    def count(self, name: str, roles: list[LinearRole]) -> str:
        """Of linears that are another number; empty: they are as many."""
        if "experts" in roles[0].layout:
            found = self.lengths.of([role.weight for role in roles], 0)
            return found if found != self.formula else ""
        if "{E}" not in name:
            return ""
        of_all = self.samples[0].roles.counted.get(module_of(roles[0].weight.name))
        if of_all == UNEVEN:
            if self.formula:  # of which `any` are at least as many
                raise CannotTell(f"{name}: no key of config.json says how many there are")
            return ANY
        if of_all:
            return self.lengths.count(of_all, self._counts(name))
        counts, whole = self._counts(name), self._whole(name)
        if counts == whole:
            return "" if counts == self.numbers else self._formula(name, counts)
        if whole != self.numbers:
            raise CannotTell(f"{name}: there are {counts}, but {whole} experts that have all of their linears")
        return ANY  # nothing reads the last ones, which have not all of an expert; a file may have them, or not

    def split(self, name: str, role: LinearRole) -> dict:
        """The fields of a row that say how a stack splits into linears; {} of what is none, or of no experts."""
        roles = self.samples[0].roles
        if "experts" not in role.layout or role.place.layer is None or not roles.findings.routers:
            return {}
        stacks = {name: Stack(one.weight, one.layout, one.mlp_out) for name, one in roles.linears.items()
                  if "experts" in one.layout}
        return split_of(roles.findings.subject, stacks[module_of(role.weight.name)], list(stacks.values()), name)

    def _stacked(self) -> str:
        stacks = [next((role.weight for role in sample.roles.linears.values() if "experts" in role.layout
                        and role.place.layer is not None), None)
                  for sample in self.samples]
        self.numbers = [stack.shape[0] for stack in stacks if stack]
        return self.lengths.of(stacks, 0) if all(stacks) else ""

    def _numbered(self) -> str:
        names = self._names()
        if not names:
            return ""
        self.numbers = self._whole(names[0])
        return self._formula(next(name for name in names if self._counts(name) == self.numbers), self.numbers)

    def _formula(self, name: str, counts: list[int]) -> str:
        weight = next(role.weight for role in self.samples[0].roles.linears.values() if role.place.name == name)
        keys = self.samples[0].dependence.sizes.get((weight.memory, 0), set())
        return self.lengths.formula_of(keys, counts) or self.lengths.key_of(counts, re.compile("expert"))

    def _names(self) -> list[str]:
        roles = self.samples[0].roles
        return list(dict.fromkeys(role.place.name for module, role in roles.linears.items()
                                  if "{E}" in role.place.name and module not in roles.counted))

    def _counts(self, name: str) -> list[int]:
        return [count_of(sample, "linears", name) for sample in self.samples]

    def _whole(self, name: str) -> list[int]:
        """Those that have all linears which the first has."""
        beginning = name[: name.index("{E}")]
        return min(self._counts(other) for other in self._names() if other.startswith(beginning))


def count_of(sample: Sample, kind: str, name: str) -> int:
    """In the first layer that has them."""
    places = [role.place for role in getattr(sample.roles, kind).values() if role.place.name == name]
    return places.count(places[0]) if places else 0
