"""Which layers have what: formulas over L and the keys of config.json that fit several models of one class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from .formulas import Keys, is_size
from .tiny_layers import is_index_list
from .variations import LAYERS, Variation, is_of_layers

LAST = "num_hidden_layers"


class Conditions:
    """Which layers, of samples and of variations of the first of them. `made_up`: lists that the class makes of other
    keys, where it is not given them."""

    def __init__(self, samples: list[Keys], made_up: frozenset[str] = frozenset(),
                 variations: Sequence[Variation] = ()):
        self.samples, self.made_up, self.variations = samples, made_up, variations
        self.counts = [sample[LAST] for sample in samples]

    def told_lists(self, row: str) -> list[dict]:
        """Those that the class makes of other keys and that formulas of a row use, with all the values they have."""
        found = []
        for key in sorted(self.made_up):
            lists = [sample.get(key) for sample in self.samples]
            values = sorted({str(value) for one in lists if isinstance(one, list) for value in one
                             if isinstance(value, str) or type(value) is int})
            if values and re.search(rf"\b{key}\[L\]", row):
                found.append({"key": key, "values": values})
        return found

    def last(self, layers: list[set[int]]) -> str | None:
        """That holds in the last layers, as many as a key says; None: there is none."""
        for key in self.samples[0]:
            if LAYERS.search(key) and all(
                is_size(sample.get(key)) and there == set(range(count - sample[key], count))
                for sample, count, there in zip(self.samples, self.counts, layers, strict=True)
            ):
                return f"L >= {LAST} - {key}"
        return None

    def of_last(self, values: list[dict[int, int]]) -> str | None:
        """A formula that tells layers apart: each of these has the same value as another, the last before it which is
        not one of them. None: there is none."""
        lists = [key for key, value in self.samples[0].items() if isinstance(value, list) and value]
        for text, of in [("0", None), *((f"{key}[L]", key) for key in lists)]:
            if all(_is_last(layers, sample.get(of) if of else None)
                   for sample, layers in zip(self.samples, values, strict=True)):
                return text
        return None

    def find(self, layers: list[set[int]], of_any_keys: bool = True, memory: str = "") -> str | None:
        """A formula over L that holds in those layers of each sample, and in those of the variations that have that
        tensor in memory, of one size where the formula tells sizes apart (`of_any_keys`); empty: in all; None: there is
        none. Keys that a class makes up of others may not be in a config.json: they are used only if any may be."""
        if all(len(there) == count for there, count in zip(layers, self.counts, strict=True)):
            return ""
        seen = list(zip(self.samples, layers, strict=True))
        seen += [(one.keys, there) for one, there in self._varied(memory, layers[0], of_any_keys)]
        found = self._first(seen, frozenset())
        if of_any_keys or found is None:
            return found
        other = self._first(seen, self.made_up)
        # Of a tiny model, the last layer may be the only one of a list.
        return other if other == found or LAST not in (other or "") else None

    def _varied(self, memory: str, layers: set[int], sized: bool) -> list[tuple[Variation, set[int]]]:
        """The layers that have a tensor, in each variation that has it in the sizes of the model itself."""
        if not memory or not self.variations or not layers:
            return []
        base, some = self.variations[0], min(layers)
        size = base.shapes.get(memory) if sized else None
        if base.layers_with(memory, some, size) != layers:  # by another name, or of another layer
            return []
        all_sizes = base.sizes_of(memory, some)
        return [(one, one.layers_with(memory, some, size)) for one in self.variations
                if not sized or one.sizes_of(memory, some) <= all_sizes]

    def _first(self, seen: list[tuple[Keys, set[int]]], without: frozenset[str]) -> str | None:
        for text, holds in self._candidates(without):
            try:
                if all({layer for layer in range(keys[LAST]) if holds(keys, layer)} == there for keys, there in seen):
                    return text
            except (TypeError, KeyError, IndexError, ZeroDivisionError):
                continue
        return None

    def _candidates(self, without: frozenset[str]) -> Iterable[tuple[str, Callable[[Keys, int], bool]]]:
        first = self.samples[0]
        lists = [key for key, value in first.items() if isinstance(value, list) and value and key not in without]
        numbers = [key for key, value in first.items() if is_of_layers(key, value)]
        yield from self._of_lists(lists)
        for key in numbers:
            yield f"L >= {key}", lambda sample, layer, key=key: layer >= sample[key]
            yield f"L < {key}", lambda sample, layer, key=key: layer < sample[key]
        for key in (key for key in lists if is_index_list(first[key], first[LAST])):
            yield f"L in {key}", lambda sample, layer, key=key: layer in sample[key]
            yield f"!(L in {key})", lambda sample, layer, key=key: layer not in sample[key]
        yield f"L + 1 == {LAST}", lambda sample, layer: layer + 1 == sample[LAST]
        yield f"L + 1 != {LAST}", lambda sample, layer: layer + 1 != sample[LAST]
        for key in numbers:
            for shift in (0, 1):
                place = f"(L + {shift})" if shift else "L"
                yield (f"{place} % {key} == 0",
                       lambda sample, layer, key=key, shift=shift: (layer + shift) % sample[key] == 0)
                yield (f"{place} % {key} != 0",
                       lambda sample, layer, key=key, shift=shift: (layer + shift) % sample[key] != 0)
            for other in numbers:
                yield (f"L % {key} == {other}",
                       lambda sample, layer, key=key, other=other: layer % sample[key] == sample[other])
                yield (f"L % {key} != {other}",
                       lambda sample, layer, key=key, other=other: layer % sample[key] != sample[other])

    def _of_lists(self, lists: list[str]):
        for key in lists:
            values = {value for sample in self.samples for value in sample.get(key) or ()
                      if isinstance(value, str | int | bool)}
            for value in sorted(values, key=str):
                text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
                text = text or (f"'{value}'" if isinstance(value, str) else str(value))
                yield f"{key}[L] == {text}", lambda sample, layer, key=key, value=value: sample[key][layer] == value
                yield f"{key}[L] != {text}", lambda sample, layer, key=key, value=value: sample[key][layer] != value
            yield from self._of_two(key, sorted((value for value in values if isinstance(value, str)), key=str))

    def _of_two(self, key: str, values: list[str]):
        for i, one in enumerate(values):
            for other in values[i + 1 :]:
                yield (f"{key}[L] == '{one}' || {key}[L] == '{other}'",
                       lambda sample, layer, key=key, one=one, other=other: sample[key][layer] in (one, other))


def _is_last(layers: dict[int, int], kinds: list | None) -> bool:
    """Of each layer, the layer that has its values: the last before it of the same kind, which has its own."""
    for layer, other in layers.items():
        alike = [one for one in range(layer) if one not in layers and (kinds is None or kinds[one] == kinds[layer])]
        if alike[-1:] != [other]:
            return False
    return True
