"""On which keys of its config the sizes and the presence of a model's tensors depend: each key is changed, one after
another, and the model is built without memory for its weights."""

from __future__ import annotations

import copy
import dataclasses
import re

import torch
from transformers import PreTrainedConfig

from .counts import counts_of
from .tiny import Tiny

Shapes = dict[str, tuple[int, ...]]
# Flags that make another kind of model of it, or say nothing of its weights.
OTHER_KINDS = re.compile(
    r"tie_|use_cache|^is_|cross|output_|return_|torchscript|lora|adapter|^mtp|nextn|vision|audio|projector(?!s)"
)


@dataclasses.dataclass
class Dependence:
    """Of the tensors in memory."""

    base: Shapes
    sizes: dict[tuple[str, int], set[str]]  # of an axis: keys that change its length
    seen: dict[tuple[str, int], list[tuple[str, int, int]]]  # of an axis: a key, its other value, the length then
    flags: dict[str, set[str]]  # of a tensor: flags of the config without whose value it is not there
    unknown: set[str]  # keys that could not be changed alone
    counts: dict[str, list[tuple[str, int, int]]]  # of numbered tensors: a key, its other value, their number then


def shapes_of(model_class: type, config: PreTrainedConfig) -> Shapes:
    with torch.device("meta"):
        model = model_class(config)
    return {name: tuple(value.shape) for name, value in [*model.named_parameters(), *model.named_buffers()]}


def changed(config: PreTrainedConfig, section: str, key: str, value: object) -> PreTrainedConfig:
    other = copy.deepcopy(config)
    part = getattr(other, section) if section and hasattr(getattr(other, section), key) else other
    setattr(part, key, value)
    return other


def dependence_of(tiny: Tiny, section: str) -> Dependence:
    config, model_class = tiny.config, type(tiny.model)

    def shapes(key: str, value: object) -> Shapes | None:
        try:
            return shapes_of(model_class, changed(config, section, key, value))
        except Exception:  # noqa: BLE001: whatever the class raises of such a config
            return None

    base = shapes_of(model_class, config)
    found = Dependence(base, {}, {}, {}, set(), {})
    counts = counts_of(base)
    keys = config.to_dict()
    keys |= (keys.get(section) or {}) if section else {}
    for key, value in keys.items():
        if isinstance(value, bool):
            if other := shapes(key, not value):
                for name in set(base) - set(other):
                    found.flags.setdefault(name, set()).add(key)
        elif isinstance(value, int) and value > 0:
            tried = {number: shapes(key, number) for number in (2 * value, value + 1, 3 * value)}
            if not any(tried.values()):
                found.unknown.add(key)
            for number, other in tried.items():
                add_lengths(found, key, number, other or {})
                for name, count in counts_of(other or {}).items():
                    if name in counts and count != counts[name]:
                        found.counts.setdefault(name, []).append((key, number, count))
    return found


def add_lengths(found: Dependence, key: str, number: int, other: Shapes) -> None:
    for name, shape in found.base.items():
        if name not in other or len(other[name]) != len(shape):
            continue
        for axis, (before, after) in enumerate(zip(shape, other[name], strict=True)):
            if before != after:
                found.sizes.setdefault((name, axis), set()).add(key)
                found.seen.setdefault((name, axis), []).append((key, number, after))


def more_tensors(tiny: Tiny, section: str) -> dict[str, bool]:
    """Flags with which the class has all tensors that it has otherwise, and more: biases, norms that are left out."""
    config, model_class = tiny.config, type(tiny.model)
    base = shapes_of(model_class, config)
    keys = config.to_dict()
    keys |= (keys.get(section) or {}) if section else {}
    found = {}
    for key, value in keys.items():
        if not isinstance(value, bool) or OTHER_KINDS.search(key):
            continue
        try:
            other = shapes_of(model_class, changed(config, section, key, not value))
        except Exception:  # noqa: BLE001: whatever the class raises of such a config
            continue
        if other.items() > base.items():
            found[key] = not value
    return found
