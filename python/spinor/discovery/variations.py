"""A tiny model with other kinds of layers: tells a rule of its class from one that only happens to fit."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterable

from transformers import PreTrainedConfig

from .dependence import Shapes, shapes_of
from .formulas import Keys
from .tiny import Tiny
from .tiny_layers import is_index_list
from .tiny_shrink import own_keys

LAYERS = re.compile(r"layer|dense|first|replace|interval|period|offset|freq|step|moe|pattern|type")
COUNT = re.compile(r"(num|n)_(hidden_)?layers?|decoder_layers|encoder_layers|num_(de|en)coder_layers")


def is_of_layers(key: str, value: object) -> bool:
    """A number that may say which layers are of which kind."""
    return type(value) is int and LAYERS.search(key) is not None and not COUNT.fullmatch(key)


@dataclasses.dataclass(frozen=True)
class Variation:
    keys: Keys  # of its config.json, flat (formulas.flat_keys)
    shapes: Shapes  # of the tensors in memory

    def layers_with(self, memory: str, layer: int, size: tuple[int, ...] | None) -> set[int]:
        """Those that have what a tensor in memory is in that layer, of this size where there are several."""
        return {number for number, shape in self._shapes_of(memory, layer) if size in (None, shape)}

    def sizes_of(self, memory: str, layer: int) -> set[tuple[int, ...]]:
        """Of that in all layers."""
        return {shape for _, shape in self._shapes_of(memory, layer)}

    def _shapes_of(self, memory: str, layer: int) -> list[tuple[int, tuple[int, ...]]]:
        before, _, after = memory.partition(f".{layer}.")
        names = {number: f"{before}.{number}.{after}" for number in range(self.keys["num_hidden_layers"])}
        return [(number, self.shapes[name]) for number, name in names.items() if name in self.shapes]


def variations_of(tiny: Tiny, section: str, made_up: Iterable[str], keys_of: Callable[[PreTrainedConfig], Keys]
                  ) -> list[Variation]:
    """The first is the model itself. `made_up`: lists that the class makes of other keys; it makes them anew where such
    a key is changed, and once without any change."""
    config, found = tiny.config, []
    part = getattr(config, section) if section else config
    count = keys_of(config)["num_hidden_layers"]
    without = frozenset(made_up)
    changes: list[tuple[dict, frozenset[str]]] = [({}, frozenset()), ({}, without)]
    for key, value in own_keys(part).items():
        dropped = without if isinstance(value, int) else frozenset()
        changes += [({key: other}, dropped) for other in others(key, value, count)]
    for change, dropped in changes:
        try:
            other = made_again(config, section, change, dropped)
            found.append(Variation(keys_of(other), shapes_of(type(tiny.model), other)))
        except Exception:  # noqa: BLE001, PERF203: whatever the class raises of such a config
            continue
    return found


def others(key: str, value: object, count: int) -> list:
    """What else a key could say of the layers."""
    if isinstance(value, list | tuple):
        kinds, found = list(value), []
        if len(kinds) == count and any(one != kinds[0] for one in kinds):
            found = [kinds[1:] + kinds[:1], kinds[::-1]]
        if kinds and is_index_list(kinds, count):
            found.append(sorted((one + 1) % count for one in kinds))
        return found
    if is_of_layers(key, value):
        return [one for one in (1, 2, 3, value + 1) if one != value]
    return []


def made_again(config: PreTrainedConfig, section: str, change: dict, dropped: frozenset[str]) -> PreTrainedConfig:
    part = getattr(config, section) if section else config
    values = {key: copy.deepcopy(value) for key, value in own_keys(part).items() if key not in dropped}
    made = type(part)(**values | change)
    if not section:
        return made
    whole = copy.deepcopy(config)
    setattr(whole, section, made)
    return whole
