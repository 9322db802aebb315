"""Which layers a tiny model keeps: one of each kind that the config has, in their order."""

from typing import Any

from spinor.discovery.tiny_sizes import LAYER_KEYS, OFFSETS, PERIOD, PERIODS

# Lists of numbers of layers.
INDEX_LISTS = frozenset(
    "full_attn_idxs attn_layer_indices hybrid_layer_ids moe_layers mlp_only_layers ple_layer_ids "
    "cross_attention_layers deepstack_visual_indexes fullatt_block_indexes global_attn_indexes "
    "intermediate_layers_indices spatial_target_layers kv_source_layers rope_scaling_layers".split()
)
# Counts of layers that differ from those behind them, and from those before them.
FIRST = frozenset("first_k_dense_replace num_dense_layers moe_layer_start_index max_window_layers".split())
LAST = frozenset("num_kv_shared_layers".split())
# Says that layers of one kind share weights: that takes one more of them than there are weights to see, and for how
# many there are of what a layer has of its own, another number in another variant.
SHARED = frozenset("num_mem_blocks n_mamba_heads".split())


def layer_key(values: dict[str, Any]) -> str | None:
    found = [key for key in LAYER_KEYS if isinstance(values.get(key), int) and values[key] > 0]
    order = ("num_hidden_layers", "decoder_layers", "n_layer", "n_layers", "num_layers", "depth")
    return min(found, key=lambda key: (order.index(key) if key in order else len(order), key), default=None)


def _per_layer(values: dict[str, Any], count: int) -> list[str]:
    return [k for k, v in values.items() if isinstance(v, list | tuple) and len(v) == count and k not in INDEX_LISTS]


def is_index_list(numbers: list | tuple, count: int) -> bool:
    """Of that many layers."""
    return all(type(x) is int and 0 <= x < count for x in numbers)


def _listed(values: dict[str, Any], count: int) -> list[str]:
    """The keys that list numbers of layers."""
    return [
        key
        for key in INDEX_LISTS & values.keys()
        if isinstance(values[key], list | tuple) and is_index_list(values[key], count)
    ]


def mirrored_layers(values: dict[str, Any]) -> dict[str, Any]:
    """What changes when the kinds of layers come in the other order, as far as lists tell them."""
    key = layer_key(values)
    if key is None:
        return {}
    count = values[key]
    new = {name: values[name][::-1] for name in _per_layer(values, count)}
    for name in _listed(values, count):
        new[name] = type(values[name])(count - 1 - x for x in reversed(values[name]))
    return new


def _kinds(values: dict[str, Any], count: int) -> list[tuple[str, ...]]:
    lists = [values[key] for key in _per_layer(values, count)]
    listed = [set(values[key]) for key in _listed(values, count)]
    first = [values[key] for key in FIRST & values.keys() if isinstance(values[key], int)]
    last = [count - values[key] for key in LAST & values.keys() if isinstance(values[key], int)]
    return [
        tuple(map(str, [*(x[i] for x in lists), *(i in x for x in listed), *(i < x for x in first + last)]))
        for i in range(count)
    ]


def _pattern(values: dict[str, Any], count: int) -> int:
    """How long the longest list of kinds is that is repeated until there are enough."""
    lists = [v for v in values.values() if isinstance(v, list | tuple) and all(isinstance(x, str) for x in v)]
    return max((len(v) for v in lists if len(v) < count and len(set(v)) > 1), default=0)


def _period(values: dict[str, Any], variant: int) -> dict[str, int]:
    """Periods as short as they can be, and where in them the other kind stands."""
    new = {k: PERIOD[variant] for k in PERIODS if type(values.get(k)) is int and values[k] > 1}
    new.update({k: 1 + variant for k in OFFSETS if type(values.get(k)) is int and values[k] > 0})
    return {key: min(value, values[key]) for key, value in new.items()}


def _picked(kinds: list[tuple[str, ...]], least: int, each: int) -> list[int]:
    """The first layers of each kind, then further ones until there are enough."""
    picked = [i for i, kind in enumerate(kinds) if kinds[:i].count(kind) < each]
    more = [i for i in range(len(kinds)) if i not in picked]
    return sorted(picked + more[: max(0, least - len(picked))])


def fewer_layers(values: dict[str, Any], variant: int, most: int | None = None) -> dict[str, Any]:
    """What of `values`, the keys of a config, changes when only a few of the layers are kept; no more
    than `most`, of a part where not every kind needs to be seen."""
    key = layer_key(values)
    if key is None or values[key] > 10_000:
        return {}
    count = values[key]
    new: dict[str, Any] = _period(values, variant)
    kinds = _kinds(values, count)
    shown = [2, len(set(kinds)), _pattern(values, count), *(period + 1 for period in new.values())]
    least = max(shown) + variant
    each = 1 + (values.get("num_mem_blocks") or 1) + variant if SHARED & values.keys() else 1
    picked = _picked(kinds, least, each)[:most]
    for name in _per_layer(values, count):
        new[name] = type(values[name])(values[name][i] for i in picked)
    for name in _listed(values, count):
        new[name] = type(values[name])(at for at, i in enumerate(picked) if i in values[name])
    for name in FIRST & values.keys():
        if isinstance(values[name], int):
            new[name] = sum(i < values[name] for i in picked)
    for name in LAST & values.keys():
        if isinstance(values[name], int):
            new[name] = sum(i >= count - values[name] for i in picked)
    return new | {name: len(picked) for name in LAYER_KEYS if values.get(name) == count} | {key: len(picked)}
