"""Formulas that discovery finds for sizes and layers: they fit models that they were not found with."""

import pytest

pytest.importorskip("spinor")  # PYTHONPATH=build/release/python

from spinor.discovery.attention_roles import rows_of  # noqa: E402
from spinor.discovery.conditions import Conditions  # noqa: E402
from spinor.discovery.counts import counts_of, numbered, uneven  # noqa: E402
from spinor.discovery.files import CannotTell, FileTensor  # noqa: E402
from spinor.discovery.formulas import size_formula  # noqa: E402
from spinor.discovery.row_text import text_of  # noqa: E402
from spinor.discovery.variations import Variation  # noqa: E402

SMALL = {"hidden": 48, "heads": 4, "groups": 2, "head": 16, "inner": 88, "state": 10, "rank": 22}
LARGE = {"hidden": 60, "heads": 6, "groups": 3, "head": 24, "inner": 100, "state": 14, "rank": 26}
OTHER = {"hidden": 4096, "heads": 32, "groups": 8, "head": 128, "inner": 14336, "state": 128, "rank": 512}
# What the sizes are, and of which keys they are known to be made.
SIZES = {
    "heads * head": ["heads", "head"],
    "2 * inner": ["inner"],
    "head * (heads + 2 * groups)": ["heads", "head", "groups"],
    "2 * inner + 2 * groups * state + heads": ["inner", "groups", "state", "heads"],
    "hidden // heads": ["hidden", "heads"],
    "rank + head": ["rank", "head"],
    "hidden - head": ["hidden", "head"],
    "hidden + 2": ["hidden"],
    "groups * head // 2": ["groups", "head"],
    "3 * hidden // 4": ["hidden"],
}


@pytest.mark.parametrize("size, keys", SIZES.items(), ids=list(SIZES))
def test_a_formula_fits_what_it_was_not_found_with(size, keys):
    bumped = [SMALL | {key: 3 * SMALL[key]} for key in keys]
    seen = [(sample, eval(size, {}, sample)) for sample in (SMALL, LARGE, *bumped)]
    found = size_formula([(sample, value) for sample, value in seen if value == int(value)], keys)
    assert found is not None
    assert eval(found.replace("/", "//"), {}, OTHER) == eval(size, {}, OTHER), found


def test_products_alone():
    seen = [({"heads": 8, "width": 48}, 6), ({"heads": 6, "width": 60}, 10)]
    assert size_formula(seen, ["heads", "width"]) == "width / heads"
    assert size_formula(seen, ["heads", "width"], divided=False) is None


def test_no_formula_is_made_up():
    assert size_formula([(SMALL, 31), (LARGE, 77), (SMALL | {"inner": 90}, 5)], ["inner"]) is None


@pytest.mark.parametrize("there, formula", [
    ([{0, 2}, {1}], "kinds[L] == 'a'"), ([{1}, {0, 2}], "kinds[L] != 'a'"),
    ([{0, 1, 2}, {0, 1, 2}], ""), ([{1, 2}, {2}], "L >= dense_layers"), ([{0}, {0, 1}], "L < dense_layers"),
    ([{0, 1}, {1}], None),
])
def test_which_layers(there, formula):
    samples = [{"num_hidden_layers": 3, "kinds": ["a", "b", "a"], "dense_layers": 1},
               {"num_hidden_layers": 3, "kinds": ["b", "a", "b"], "dense_layers": 2}]
    assert Conditions(samples).find(there) == formula


def test_the_last_layer_is_no_rule_where_a_list_tells():
    """The list may not be in a config.json, and models with more layers have more of them in it."""
    samples = [{"num_hidden_layers": 3, "crossing": [2]}, {"num_hidden_layers": 4, "crossing": [3]}]
    last = [{2}, {3}]
    assert Conditions(samples).find(last) == "L in crossing"
    assert Conditions(samples, frozenset({"crossing"})).find(last, of_any_keys=False) is None
    without = [{"num_hidden_layers": 3}, {"num_hidden_layers": 4}]
    assert Conditions(without).find(last, of_any_keys=False) == "L + 1 == num_hidden_layers"


def varied(keys, sparse):
    shapes = {f"layers.{layer}.router": (8, 48) for layer in sparse} | {f"layers.{layer}.norm": (48,) for layer in
                                                                          range(keys["num_hidden_layers"])}
    return Variation(keys, shapes)


@pytest.mark.parametrize("ruled_by", ["dense_layers", "kinds", "nothing"])
def test_a_rule_that_only_happens_to_fit(ruled_by):
    """Layer 0 is the dense one of two models: that has five rules, and a third model tells which is one."""
    keys = {"num_hidden_layers": 4, "moe_size": 28, "dense_layers": 1, "kinds": ["dense", "moe", "moe", "moe"]}
    samples, there = [keys, keys | {"moe_size": 44}], [{1, 2, 3}, {1, 2, 3}]
    changes = [keys | {"moe_size": 2}, keys | {"dense_layers": 2}, keys | {"kinds": keys["kinds"][::-1]}]
    layers = {"dense_layers": [{1, 2, 3}, {2, 3}, {1, 2, 3}], "kinds": [{1, 2, 3}, {1, 2, 3}, {0, 1, 2}],
              "nothing": [{1, 2, 3}] * 3}[ruled_by]
    variations = [varied(keys, there[0]), *map(varied, changes, layers)]
    rule = {"dense_layers": "L >= dense_layers", "kinds": "kinds[L] != 'dense'", "nothing": None}[ruled_by]
    assert Conditions(samples).find(there) == "kinds[L] != 'dense'"
    assert Conditions(samples, variations=variations).find(there, memory="layers.1.router") == rule


def test_layers_that_share():
    samples = [{"num_hidden_layers": 4, "shared_layers": 2, "kinds": ["a", "b", "a", "b"]},
               {"num_hidden_layers": 5, "shared_layers": 3, "kinds": ["a", "b", "b", "a", "b"]}]
    conditions = Conditions(samples)
    assert conditions.last([{2, 3}, {2, 3, 4}]) == "L >= num_hidden_layers - shared_layers"
    assert conditions.last([{2, 3}, {2, 4}]) is None
    assert conditions.of_last([{2: 0, 3: 1}, {2: 1, 3: 0, 4: 1}]) == "kinds[L]"
    assert conditions.of_last([{2: 1, 3: 1}, {2: 1, 3: 1, 4: 1}]) == "0"
    assert conditions.of_last([{2: 0, 3: 0}, {2: 0, 3: 0, 4: 0}]) is None


def test_what_is_numbered():
    assert numbered("side.3.linear.weight") == "side.{E}.linear.weight"
    assert numbered("layers.1.table.shard_12.weight") == "layers.1.table.shard_{E}.weight"
    assert numbered("mlp.w1.weight") is None
    assert counts_of(["a.0.w", "a.1.w", "a.0.v", "b"]) == {"a.{E}.w": 2, "a.{E}.v": 1}


def test_what_layers_have_not_as_many_of():
    """Adapters of a block for each layer that uses it; two blocks take turns."""
    def places(numbers):
        listed = [(layer, n, m) for layer, of in numbers.items() for n in of for m in (0, 1)]
        return [*((layer, f"list.{n}.{m}") for layer, n, m in listed), (None, "side.0")]

    found = uneven(places({0: [0], 1: [1]}), places({0: [0, 2], 1: [1]}))
    assert found == {"list.{E}.0", "list.{E}.1"}
    assert uneven(places({0: [0, 1]}), places({0: [0, 1], 1: [0, 1]})) == set()


def test_rows_of_a_fused_weight():
    tensor = FileTensor("w", (96, 8), "w", (0, 1), (None, None), ("w",))
    assert rows_of(tensor, [0, 16, 32, 48, 64, 80], 16, 96) is None
    assert rows_of(tensor, [64, 80], 16, 96) == (64, 32, 96)
    assert rows_of(tensor, [16, 48, 80], 16, 96) == (16, 16, 32)
    assert rows_of(tensor, [16, 24, 64, 72], 8, 96) == (16, 16, 48)
    with pytest.raises(CannotTell, match="begin at"):
        rows_of(tensor, [0, 16, 80], 16, 96)


def test_a_row_is_text_that_yaml_reads_back():
    yaml = pytest.importorskip("yaml")
    row = {"names": ["A"], "linears": [{"name": "mlp.{E}.w", "out": "2 * a", "when": "k[L] == 'x'", "router": "true"}],
           "writes": ["ffn.2"], "proof": {"with": "transformers 5.23.0", "R1": 7e-15}, "loaded_as": {"a.": ""}}
    read = yaml.safe_load(text_of(row))
    assert read["linears"][0] == {"name": "mlp.{E}.w", "out": "2 * a", "when": "k[L] == 'x'", "router": True}
    assert read["loaded_as"] == {"a.": ""} and float(read["proof"]["R1"]) == 7e-15
