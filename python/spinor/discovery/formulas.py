"""Formulas over the keys of config.json for sizes that were seen in several models of one class.

A size is a sum of products of the very keys that it depends on (dependence.py): the simplest that fits every sample.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

Keys = dict[str, object]
Seen = list[tuple[Keys, int]]  # a size, and the config of the model that it was seen in

def flat_keys(config: dict, section: str) -> Keys:
    """As the row sees them: those of the section before those of the file, and keys of others as object['key']."""
    keys = {**config, **(config.get(section) or {})} if section else dict(config)
    for name, value in list(keys.items()):
        if isinstance(value, dict) and name.isidentifier() and name != section:
            keys |= {f"{name}['{inner}']": number for inner, number in value.items()
                     if isinstance(number, int | float | str | list)}
    return keys


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
    return part_of_product(usable, keys) or (difference(usable, keys) if len(keys) == 2 else None)


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


def part_of_product(seen: Seen, keys: list[str]) -> str | None:
    """Of all of them."""
    for parts in PARTS:
        if len(seen) > 1 and all(parts * size == Product(tuple(keys)).value(config) for config, size in seen):
            return f"{Product(tuple(keys)).text()} / {parts}"
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
