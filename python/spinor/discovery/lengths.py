"""Sizes of tensors, and whether they are there, as formulas over the keys of config.json."""

from __future__ import annotations

import dataclasses
import itertools
import re

from .counts import PIECES, UNEVEN
from .dependence import Dependence, Shapes
from .files import CannotTell, FileTensor
from .formulas import Keys, Seen, is_size, size_formula
from .roles import Roles

ANY = "any"
# Not told by a flag: a head that shares its weight is there, as the embedding.
NO_FLAGS = {"tie_word_embeddings"}
MOST_KEYS = 4
SIZE_OF_HEAD = re.compile(r"head.*dim|head.*size|kv_channels")

OTHER_HEADS = re.compile(r"num_\w+_heads")


@dataclasses.dataclass
class Sample:
    roles: Roles
    keys: Keys  # of its config.json, flat (formulas.flat_keys)
    dependence: Dependence
    class_defaults: Keys
    derived: set[str]  # keys that its config leaves to the class


class Lengths:
    def __init__(self, samples: list[Sample]):
        self.samples = samples

    def of(self, tensors: list[FileTensor], axis: int, on_stream: bool = False) -> str:
        """Of an axis, one tensor a sample."""
        sizes = [tensor.shape[axis] for tensor in tensors]
        if on_stream and (self.samples[0].roles.sites or sizes == [sample.roles.width for sample in self.samples]):
            return self._on_stream(tensors[0], axis, sizes)
        found = self._formula(tensors, axis)
        if found == "hidden_size":
            heads = [sample.keys["num_attention_heads"] * sample.keys["head_dim"] for sample in self.samples]
            return "num_attention_heads * head_dim" if heads == sizes else ANY
        return found or ANY

    def number(self, values: list[int], tensors: list[FileTensor], axis: int) -> str:
        """A part of an axis of these tensors: of some of the keys that it depends on; where no formula of them fits, of
        some that the tensors do. Raises CannotTell."""
        if values == [sample.keys["head_dim"] for sample in self.samples]:
            return "head_dim"
        keys = sorted(set().union(*(self.keys_of(tensors[0], one) for one in range(len(tensors[0].shape)))))
        seen = list(zip((sample.keys for sample in self.samples), values, strict=True))
        named = [key for key in self.samples[0].keys if SIZE_OF_HEAD.search(key)
                 and [sample.keys.get(key) for sample in self.samples] == values]
        if named and not set(named) & set(keys):
            return named[0]
        mine, of = sorted(self.keys_of(tensors[0], axis)), [*keys, *({"head_dim"} - set(keys))]
        for some, divided in ((mine, False), (of, False), (of, True)):  # two models tell little
            for count in range(1, MOST_KEYS + 1):
                for chosen in itertools.combinations(some, count):
                    if found := size_formula(seen, list(chosen), divided):
                        return found
        raise CannotTell(f"{tensors[0].name}: no formula says how many of its rows are values, {values}")

    def key_of(self, values: list[int], like: re.Pattern) -> str:
        for key in self.samples[0].keys:
            if like.search(key) and [sample.keys.get(key) for sample in self.samples] == values:
                return key
        raise CannotTell(f"no key of config.json is {values}")

    def formula_of(self, keys: set[str], values: list[int]) -> str | None:
        """Of numbers that depend on these keys."""
        return size_formula(list(zip((sample.keys for sample in self.samples), values, strict=True)), sorted(keys))

    def count(self, of_all: str, counts: list[int]) -> str:
        """Of tensors that are numbered in memory, or in files alone. Raises CannotTell."""
        if of_all == UNEVEN:
            raise CannotTell(f"{counts} of a kind in a layer: no key of config.json says how many there are")
        if of_all == PIECES:
            return self.key_of(counts, re.compile("part|piece|shard|split"))
        sample = self.samples[0]
        changes = sample.dependence.counts[of_all]
        seen = list(zip((sample.keys for sample in self.samples), counts, strict=True))
        seen += [({**sample.keys, key: number}, count) for key, number, count in changes]
        if found := size_formula(seen, sorted({key for key, _, _ in changes})):
            return found
        raise CannotTell(f"{of_all}: no formula says how many there are, {counts}")

    def flag(self, tensor: FileTensor | None, always: bool = True, besides: FileTensor | None = None) -> str:
        """When a tensor is there, where flags say so: else "true", or nothing."""
        if tensor is None:
            return ""
        sample = self.samples[0]
        flags = sample.dependence.flags.get(tensor.memory, set()) - NO_FLAGS
        if besides is not None:
            flags -= sample.dependence.flags.get(besides.memory, set())
        text = " && ".join(key if sample.keys[key] else f"!{key}" for key in sorted(flags))
        return text or ("true" if always else "")

    def keys_of(self, tensor: FileTensor, axis: int) -> set[str]:
        """Of an axis along which several are put together, those of all of them."""
        sizes = self.samples[0].dependence.sizes
        return set().union(*(sizes.get((memory, tensor.axes[axis]), set()) for memory in tensor.memories))

    def _on_stream(self, tensor: FileTensor, axis: int, sizes: list[int]) -> str:
        """Streams side by side are some times as many."""
        times = [size // sample.roles.width for size, sample in zip(sizes, self.samples, strict=True)]
        if any(size % sample.roles.width for size, sample in zip(sizes, self.samples, strict=True)):
            raise CannotTell(f"{tensor.name}: its size {sizes} is no multiple of the residual stream's")
        keys = [key for key in self.keys_of(tensor, axis) if [sample.keys.get(key) for sample in self.samples] == times]
        if keys:
            return f"{min(keys)} * hidden_size"
        if len(set(times)) > 1:
            raise CannotTell(f"{tensor.name}: no key of config.json says how many vectors it reads side by side")
        return "hidden_size" if times[0] == 1 else f"{times[0]} * hidden_size"

    def _formula(self, tensors: list[FileTensor], axis: int) -> str | None:
        sizes = [tensor.shape[axis] for tensor in tensors]
        if set(sizes) == {1}:
            return "1"
        keys = self.keys_of(tensors[0], axis)
        seen = list(zip((sample.keys for sample in self.samples), sizes, strict=True))
        if not keys and len(set(sizes)) > 1:  # of a key that changes with others
            keys = {key for key in self.samples[0].dependence.unknown
                    if [sample.keys.get(key) for sample in self.samples] == sizes}
            return sorted(keys)[0] if keys else None
        seen += self._changed(tensors[0], axis)
        for count in ("num_attention_heads", "num_key_value_heads"):
            if all(config[count] * config["head_dim"] == size for config, size in seen):
                return f"{count} * head_dim"
        piece = is_piece(tensors[0], axis, self.samples[0].dependence.base)  # the other pieces depend on more keys
        if piece and (found := simplest(seen[: len(self.samples)], keys)):
            return found
        others = sorted({"num_hidden_layers", *self.samples[0].dependence.unknown} - keys)
        for more in ((), *((key,) for key in others)):
            # Of a key that cannot change alone.
            if found := size_formula(seen, sorted({*keys, *more}), divided=not piece):
                return found
        if "head_dim" in self.samples[0].derived:  # heads of queries, keys and values in one weight
            if found := size_formula(seen, sorted({*keys - {"hidden_size"}, "head_dim"}), divided=False):
                return found
        for count in filter(OTHER_HEADS.fullmatch, self.samples[0].keys):  # of a kind of layers
            if all(config.get(count, 0) * config["head_dim"] == size for config, size in seen):
                return f"{count} * head_dim"
        # A piece of what all the keys make.
        return next((key for key in sorted(keys) if [sample.keys.get(key) for sample in self.samples] == sizes), None)

    def _changed(self, tensor: FileTensor, axis: int) -> Seen:
        """With one key changed. Where a file has a part of an axis, the part changes as the whole does."""
        sample, at = self.samples[0], (tensor.memory, tensor.axes[axis])
        if at not in sample.dependence.seen or len(set(tensor.memories)) > 1:
            return []
        whole, part = sample.dependence.base[at[0]][at[1]], tensor.shape[axis]
        found = [({**sample.keys, key: number}, length * part) for key, number, length in sample.dependence.seen[at]]
        return [(derive(keys, sample.derived), size // whole) for keys, size in found if size % whole == 0]


def is_piece(tensor: FileTensor, axis: int, shapes: Shapes) -> bool:
    """Along the axis, of what is one tensor in memory."""
    of = tensor.axes[axis]
    return of is not None and tensor.memory in shapes and shapes[tensor.memory][of] != tensor.shape[axis]


def simplest(seen: Seen, keys: set[str]) -> str | None:
    """One product of some of the keys."""
    for count in range(1, MOST_KEYS + 1):
        for some in itertools.combinations(sorted(keys), count):
            if (found := size_formula(seen, list(some), divided=False)) and "+" not in found:
                return found
    return None


def derive(keys: Keys, derived: set[str]) -> Keys:
    """What classes compute from other keys where config.json leaves it out, and spinor, too."""
    if "num_key_value_heads" in derived:
        keys["num_key_value_heads"] = keys["num_attention_heads"]
    if "head_dim" in derived:
        keys["head_dim"] = keys["hidden_size"] // keys["num_attention_heads"]
    return keys


def count_of_layers(keys: Keys, layers: int) -> str:
    """A key that is their number, or a list with an entry for each."""
    found = [key for key, value in keys.items() if "layer" in key and
             (value == layers or (isinstance(value, list) and len(value) == layers))]
    if not found:
        raise CannotTell("no key of config.json says how many layers there are")
    return min(found, key=lambda key: ("encoder" in key, isinstance(keys[key], list), len(key)))


@dataclasses.dataclass
class Names:
    """What all rows call keys, by formulas: where a config.json does not have them, and where it says something else by
    such a name, as a list of sizes; and which of them its class derives from others."""

    defaults: dict[str, str]
    renamed: dict[str, str]
    derived: set[str]


def canonical(keys: Keys, attribute_map: dict[str, str], width: int, layers: int) -> Names:
    """Adds to the keys what every row calls them. Raises CannotTell."""
    defaults = {key: attribute_map[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads",
                                                    "num_key_value_heads", "intermediate_size", "vocab_size")
                if key not in keys and attribute_map.get(key) in keys}
    for key, other in defaults.items():  # a class with both means its decoder
        if (of_decoder := other.replace("encoder", "decoder")) in keys:
            defaults[key] = of_decoder
    renamed: dict[str, str] = {}
    keys |= {key: keys[other] for key, other in defaults.items()}
    if keys.get("hidden_size") != width:
        raise CannotTell(f"no key of config.json says how wide the residual stream is ({width})")
    if keys.get("num_hidden_layers") != layers:
        defaults["num_hidden_layers"] = count_of_layers(keys, layers)
        keys["num_hidden_layers"] = layers
    for key, formula, value in (("num_attention_heads", "1", 1), ("intermediate_size", "hidden_size", width),
                                ("vocab_size", "hidden_size", width)):
        if not is_size(keys.get(key)):
            (defaults if keys.get(key) is None else renamed)[key], keys[key] = formula, value
    derived = {key for key in ("num_key_value_heads", "head_dim") if not is_size(keys.get(key))}
    if keys.get("head_dim") is not None and "head_dim" in derived:
        renamed["head_dim"] = "hidden_size / num_attention_heads"
    derive(keys, derived)
    return Names(defaults, renamed, derived)
