"""Formulas over the keys of config.json for sizes and conditions that were seen in several models of one class.

A size is a sum of products of the very keys that it depends on (dependence.py): the simplest that fits every sample.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable

Keys = dict[str, object]
Seen = list[tuple[Keys, int]]  # a size, and the config of the model that it was seen in

def flat_keys(config: dict, section: str) -> Keys:
    """As the row sees them: those of the section before those of the file, and keys of objects as object['key']."""
    keys = {**config, **(config.get(section) or {})} if section else dict(config)
    for name, value in list(keys.items()):
        if isinstance(value, dict) and name.isidentifier():
            keys |= {f"{name}['{inner}']": number for inner, number in value.items()
                     if isinstance(number, int | float | str | list)}
    return keys


LAYERS = re.compile(r"layer|dense|first|replace|interval|period|offset|freq|step|moe|pattern|type")
COUNT = re.compile(r"(num|n)_(hidden_)?layers?|decoder_layers|encoder_layers|num_(de|en)coder_layers")
LAST = "num_hidden_layers"
COEFFICIENTS = (1, 2, 3, 4)
PARTS = (2, 3, 4, 8)
MOST_TERMS, MOST_FACTORS = 3, 3


def is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclasses.dataclass(frozen=True)
class Product:
    """of[0] * of[1] ..., divided by `by` where it is not empty."""

    of: tuple[str, ...]
    by: str = ""

    def value(self, keys: Keys) -> float:
        number = math.prod(keys[key] for key in self.of)
        return number / keys[self.by] if self.by else number

    @property
    def cost(self) -> int:
        return len(self.of) + 2 * bool(self.by)

    def text(self, coefficient: int = 1, without: str = "") -> str:
        factors = list(self.of)
        if without:
            factors.remove(without)
        if coefficient > 1 or not factors:
            factors.insert(0, str(coefficient))
        return " * ".join(factors) + (f" / {self.by}" if self.by else "")


def products_of(keys: list[str], divided: bool) -> list[Product]:
    found = [Product(chosen) for count in range(1, MOST_FACTORS + 1)
             for chosen in itertools.combinations(keys, count)]
    found += [Product((key, key)) for key in keys]
    if not divided:
        return sorted(found, key=lambda product: product.cost)
    found += [Product(one.of, by) for one in found for by in keys if by not in one.of and len(one.of) < MOST_FACTORS]
    return sorted(found, key=lambda product: product.cost)


def size_formula(seen: Seen, keys: list[str], divided: bool = True) -> str | None:
    """Of all the keys, that fits every sample; None if there is none as simple as these. `divided`: or a quotient."""
    if len({size for _, size in seen}) == 1 and not keys:
        return str(seen[0][1])
    usable = [(config, size) for config, size in seen if all(is_size(config.get(key)) for key in keys)]
    if not keys or len(usable) < len(seen):
        return None
    keys = sorted(keys)
    if len(keys) == 1 and (found := shifted_key(usable, keys[0]) or part_of_key(usable, keys[0])):
        return found
    products = products_of(keys, divided)
    for count in range(1, MOST_TERMS + 1):
        for chosen in itertools.combinations(products, count):
            used = {key for product in chosen for key in (*product.of, *filter(None, [product.by]))}
            if used == set(keys) and (found := with_coefficients(usable, chosen)):
                return found
    return difference(usable, keys) if len(keys) == 2 else None


def shifted_key(seen: Seen, key: str) -> str | None:
    """A key with a constant added: positions with two rows for padding."""
    differences = {size - config[key] for config, size in seen}
    if len(differences) == 1 and (difference := differences.pop()) != 0 and len(seen) > 2:
        return f"{key} {'+' if difference > 0 else '-'} {abs(difference)}"
    return None


def part_of_key(seen: Seen, key: str) -> str | None:
    for times, parts in itertools.product(COEFFICIENTS, PARTS):
        if math.gcd(times, parts) > 1:
            continue
        if len(seen) > 1 and all(parts * size == times * config[key] for config, size in seen):
            return f"{key} / {parts}" if times == 1 else f"{times} * {key} / {parts}"
    return None


def difference(seen: Seen, keys: list[str]) -> str | None:
    for one, other in itertools.permutations(keys, 2):
        if all(config[one] - config[other] == size for config, size in seen):
            return f"{one} - {other}"
    return None


def with_coefficients(seen: Seen, products: tuple[Product, ...]) -> str | None:
    values = [[product.value(config) for product in products] for config, _ in seen]
    for coefficients in itertools.product(COEFFICIENTS, repeat=len(products)):
        if all(sum(a * b for a, b in zip(coefficients, row, strict=True)) == size
               for row, (_, size) in zip(values, seen, strict=True)):
            return sum_text(products, coefficients)
    return None


def sum_text(products: tuple[Product, ...], coefficients: tuple[int, ...]) -> str:
    terms = list(zip(products, coefficients, strict=True))
    common = set.intersection(*(set(product.of) for product in products)) if len(products) > 1 else set()
    if common and not any(product.by for product in products):
        key = sorted(common)[0]
        return f"{key} * (" + " + ".join(product.text(number, key) for product, number in terms) + ")"
    return " + ".join(product.text(number) for product, number in terms)


class Conditions:
    """Which layers: of samples with `counts` layers."""

    def __init__(self, samples: list[Keys], counts: list[int], made_up: frozenset[str] = frozenset()):
        self.samples, self.counts, self.made_up = samples, counts, made_up

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

    def find(self, layers: list[set[int]], of_any_keys: bool = True) -> str | None:
        """A formula over L that holds in those layers of each sample; empty: in all; None: there is none. Keys that a
        class makes up of others may not be in a config.json: they are used only if any may be."""
        if all(len(there) == count for there, count in zip(layers, self.counts, strict=True)):
            return ""
        found = self._first(layers, frozenset())
        if of_any_keys or found is None:
            return found
        other = self._first(layers, self.made_up)
        # Of a tiny model, the last layer may be the only one of a list.
        return other if other == found or LAST not in (other or "") else None

    def _first(self, layers: list[set[int]], without: frozenset[str]) -> str | None:
        for text, holds in self._candidates(without):
            try:
                if all({layer for layer in range(count) if holds(sample, layer)} == there
                       for sample, count, there in zip(self.samples, self.counts, layers, strict=True)):
                    return text
            except (TypeError, KeyError, IndexError, ZeroDivisionError):
                continue
        return None

    def _candidates(self, without: frozenset[str]) -> Iterable[tuple[str, Callable[[Keys, int], bool]]]:
        first = self.samples[0]
        lists = [key for key, value in first.items() if isinstance(value, list) and value and key not in without]
        numbers = [key for key, value in first.items()
                   if isinstance(value, int) and not isinstance(value, bool) and LAYERS.search(key)
                   and not COUNT.fullmatch(key)]
        yield from self._of_lists(lists)
        for key in numbers:
            yield f"L >= {key}", lambda sample, layer, key=key: layer >= sample[key]
            yield f"L < {key}", lambda sample, layer, key=key: layer < sample[key]
        for key in lists:
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
