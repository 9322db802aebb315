"""A user's own config with small sizes: every flag, every kind of layer and every pattern of it kept."""

import copy
import re
from typing import Any

from transformers import PreTrainedConfig

from spinor.discovery.tiny_configs import EXCEPTIONS, OF_PARTS, changed
from spinor.discovery.tiny_layers import fewer_layers, layer_key, mirrored_layers
from spinor.discovery.tiny_sizes import (
    EQUAL,
    HEAD_DIM_KEYS,
    HEADS_KEYS,
    HIDDEN_KEYS,
    ID_ENDINGS,
    KV_HEADS_KEYS,
    OTHER,
    SUMS,
    TEXT_WIDTH,
    TEXT_WIDTH_IF,
    TOWER,
    TOWER_WIDTH,
    UNUSED,
    sizes,
)

# What a config carries that its class does not take, or that is about files and not about the function.
_DROPPED = frozenset(
    "transformers_version quantization_config compression_config id2label label2id dtype linear_attn_config "
    "ignore_keys_at_rope_validation".split()
)
_TOWER = re.compile(r"vision|visual|adapter|audio|image|vq_|perceiver|qformer|(^|_)sam_|encoder$|protein|speech")
_SECTIONS = ("mrope_section", "xdrope_section")
_FACTORS = ("long_factor", "short_factor")


def own_keys(config: PreTrainedConfig) -> dict[str, Any]:
    """What its class takes."""
    return {k: v for k, v in vars(config).items() if k not in _DROPPED and not k.startswith("_")}


class _Shrinking:
    """One shrinking: the variant, what was relaxed, and the ids that tokens got."""

    def __init__(self, variant: int, relaxed: frozenset[str], mixed: bool, mirrored: bool):
        self.variant, self.relaxed, self.mixed, self.mirrored = variant, relaxed, mixed, mirrored
        self.ids: dict[int, int] = {}
        self.text: tuple[int, int] | None = None  # how wide the text is: before, now

    def config(
        self, config: PreTrainedConfig, tower: bool = False, rules: dict[str, Any] | None = None
    ) -> PreTrainedConfig:
        values = own_keys(config)
        parts = {k: v for k, v in values.items() if isinstance(v, PreTrainedConfig)}
        towers = {k: tower or bool(_TOWER.search(k)) for k in parts}
        of_parts = OF_PARTS.get(type(config).__name__, {})
        order = sorted(parts, key=towers.__getitem__)  # the text first
        shrunk = {k: self.config(parts[k], towers[k], of_parts.get(k)) for k in order}
        rules = EXCEPTIONS.get(type(config).__name__, {}) | (rules or {})
        new = self.plain(config, {k: v for k, v in values.items() if k not in parts}, tower, rules)
        made = type(config)(**new, **shrunk)
        made._name_or_path = getattr(config, "_name_or_path", "")
        return made

    def plain(
        self, config: PreTrainedConfig, values: dict[str, Any], tower: bool, rules: dict[str, Any]
    ) -> dict[str, Any]:
        """The keys that are no configs of parts."""
        values = values | _overrides(config, layer_key(values))
        new = values | self.sizes(values, tower)
        new |= fewer_layers(new, self.variant, most=3 if tower else None)
        new |= mirrored_layers(new) if self.mirrored and not tower else {}
        new |= self.widths(values, tower)
        new |= changed(new, rules, self.variant, self.text and self.text[1])
        if self.text is None and not tower and _width(new):
            self.text = (_width(values), _width(new))
        self.rope(new, values)
        if "per_layer_config" in new:
            layers = enumerate(new["per_layer_config"])
            new["per_layer_config"] = {i: self.override(layer) for i, layer in layers if layer}
        return new

    def widths(self, values: dict[str, Any], tower: bool) -> dict[str, int]:
        """What has to fit between the text and its towers."""
        if self.text is None:
            return {}
        before, now = self.text
        same = {k for k in TEXT_WIDTH_IF if values.get(k) == before}
        new = {k: now for k in (TEXT_WIDTH | same) & values.keys() if type(values[k]) is int}
        own = TOWER["hidden_size"][self.variant]
        return new | {k: own for k in TOWER_WIDTH & values.keys() if type(values[k]) is int}

    def override(self, layer: dict[str, Any]) -> dict[str, Any]:
        """The keys that one layer has otherwise: other sizes than those of the rest."""
        return {k: OTHER[k][self.variant] if k in OTHER and type(v) is int else v for k, v in layer.items()}

    def sizes(self, values: dict[str, Any], tower: bool) -> dict[str, Any]:
        table = sizes(tower, "square" in self.relaxed or _partly_turned(values), self.variant, self.mixed)
        new: dict[str, Any] = {}
        for key, value in values.items():
            if key.endswith(ID_ENDINGS):
                new[key] = self.token(value, table["vocab_size"])
            elif key in UNUSED:
                new[key] = 0
            elif type(value) is int and value > 1 and key in table:
                new[key] = table[key]
            elif isinstance(value, list | tuple) and key in table and all(type(x) is int and x > 1 for x in value):
                order = sorted(set(value))
                new[key] = type(value)(table[key] * (1 + order.index(x)) for x in value)
        for key, *others in EQUAL:
            other = next((x for x in others if values.get(key) and values.get(key) == values.get(x)), None)
            if other:
                new[key] = new[other]
        for key, (one, other) in SUMS.items():
            if values.get(key) and values[key] == values.get(one, 0) + values.get(other, 0):
                new[key] = new.get(one, values.get(one)) + new.get(other, values.get(other))
        if "equal heads" in self.relaxed:
            heads = next((new[k] for k in HEADS_KEYS if isinstance(new.get(k), int)), None)
            new.update({k: heads for k in KV_HEADS_KEYS if k in new and heads})
        return new

    def token(self, value: Any, vocab: int) -> Any:
        """Ids of tokens, told apart as before; those that are for images and the like are the last."""
        if isinstance(value, list | tuple):
            return type(value)(self.token(x, vocab) for x in value)
        if type(value) is not int or value < 8:
            return value
        return self.ids.setdefault(value, vocab - 1 - len(self.ids))

    def rope(self, new: dict[str, Any], values: dict[str, Any]) -> None:
        """Sections and factors of rotary embeddings are as many as half of the dimensions that turn."""
        ropes = new.get("rope_parameters") or new.get("rope_scaling")
        if not isinstance(ropes, dict):
            return
        ropes = copy.deepcopy(ropes)
        width = _rotary(new)
        part = (new.get("qk_rope_head_dim") or 0) / (new.get("head_dim") or 1)
        part_before = (values.get("qk_rope_head_dim") or 0) / (values.get("head_dim") or 1)
        for rope in [ropes, *(x for x in ropes.values() if isinstance(x, dict))]:
            if rope.get("partial_rotary_factor") == part_before and 0 < part < 1:
                rope["partial_rotary_factor"] = part
            half = int(width * (rope.get("partial_rotary_factor") or new.get("partial_rotary_factor") or 1)) // 2
            for key in _SECTIONS:
                if rope.get(key):
                    rope[key] = _portioned(rope[key], half)
            for key in _FACTORS:
                if rope.get(key):
                    rope[key] = [rope[key][i * len(rope[key]) // half] for i in range(half)]
        new["rope_parameters" if new.get("rope_parameters") else "rope_scaling"] = ropes


def _overrides(config: PreTrainedConfig, key: str | None) -> dict[str, Any]:
    """The keys that single layers have otherwise, a dict a layer, where the class of the config can say so."""
    spec = getattr(config, "_heterogeneity_spec", None)
    if spec is None or key is None:
        return {}
    return {"per_layer_config": [spec.per_layer_overrides.get(i, {}) for i in range(getattr(config, key))]}


def _width(values: dict[str, Any]) -> int | None:
    return next((values[k] for k in HIDDEN_KEYS if type(values.get(k)) is int), None)


def _partly_turned(values: dict[str, Any]) -> bool:
    """Part of a head turns, and how wide heads are follows from hidden_size: they must not be too narrow for it."""
    rope = values.get("rope_parameters")
    part = (rope.get("partial_rotary_factor") if isinstance(rope, dict) else None) or 1
    return part < 1 and not any(values.get(k) for k in (*HEAD_DIM_KEYS, "qk_rope_head_dim"))


def _rotary(values: dict[str, Any]) -> int:
    """How many dimensions of a head turn, before a partial factor."""
    for key in ("qk_rope_head_dim", *HEAD_DIM_KEYS):
        if values.get(key):
            return values[key]
    hidden = _width(values) or 0
    heads = next((values[k] for k in HEADS_KEYS if isinstance(values.get(k), int)), 1)
    return hidden // heads


def _portioned(section: list[int], total: int) -> list[int]:
    portions = [max(1, part * total // sum(section)) for part in section]
    portions[-1] += total - sum(portions)
    return portions


def shrunk(
    config: PreTrainedConfig,
    variant: int,
    relaxed: frozenset[str] = frozenset(),
    mixed: bool = False,
    mirrored: bool = False,
) -> PreTrainedConfig:
    """`config` with the sizes of a variant (0 or 1). `relaxed`: "square", where the class wants hidden_size = heads x
    head_dim, "equal heads", where it wants as many key heads as heads. `mirrored`: lists of kinds of layers begin with
    the last. Raises what the class of the config raises."""
    return _Shrinking(variant, relaxed, mixed, mirrored).config(config)
