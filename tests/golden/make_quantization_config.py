"""Writes quantization/*.json: how the peers read, complete, infer and write the configuration of quantization.

Pinned: compressed-tensors 0.20.0, transformers 5.23.0 (client) and llmcompressor 0.14.0.1, compressed-tensors 0.19.0,
transformers 5.17.0 (peer). Run: CLIENT/bin/python make_quantization_config.py; PEER/bin/python
make_quantization_config.py

Of the client:
presets.json   preset name -> its scheme with the format that is inferred for it
args.json      rows of QuantizationArgs: `input`, and `dump`, or no dump where they are refused
schemes.json   the same of QuantizationScheme
formats.json   schemes as they are dumped, with the format that is inferred for a linear
targets.json   groups and ignore list on a model of transforms/: the group of each module that has one
Of the peer:
recipes.json   fields of a QuantizationModifier, and the groups that they resolve to, or none where they are refused
blocks.json    `fields` of a QuantizationModifier without data, and config.json's quantization_config of the tiny Llama
               in transforms/llama that it saves

What compressed-tensors 0.19 writes is brought to the form of 0.20 here: no key that is null, but group_size; zp_dtype
and observer_kwargs only where they say something that is not the default; moe_sparsity_config, which is null.
"""

import importlib.util
import itertools
import json
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent
OUT = HERE / "quantization"

INT4 = {"num_bits": 4, "group_size": 128}
TOKEN8 = {"strategy": "token", "dynamic": True}
FP8 = {"type": "float"}


def write(name, rows):
    lines = ",\n".join(json.dumps(row) for row in rows)
    (OUT / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def dumped(kind, value):
    try:
        return {"input": value, "dump": kind.model_validate(value).model_dump(mode="json")}
    except (ValueError, NotImplementedError, TypeError):
        return {"input": value}


def args_rows():
    from compressed_tensors.quantization import QuantizationArgs

    strategies = ["tensor", "channel", "group", "block", "token", "tensor_group", "attn_head", None]
    rows = [
        {"strategy": strategy, "group_size": size, "dynamic": dynamic}
        for strategy, size, dynamic in itertools.product(strategies, [None, -2, -1, 32], [False, True, "local"])
    ]
    rows += [dict(row, block_structure=[128, 64]) for row in rows if row["group_size"] is None]
    blocks = ("2x4", "128x128", [1, 2], [0, 2], [1], [1, 2, 3], "2x", "x", "2x4x8", "", [1.5, 2], {}, 4)
    rows += [{"strategy": "block", "block_structure": value} for value in blocks]
    orders = ("weight", "static", "group", "dynamic", "GROUP", True, False, None, "Static", "none")
    rows += [dict(INT4, actorder=value) for value in orders]
    rows += [{"strategy": value, "group_size": 16} for value in ("Group", "GROUP", "TENSOR_GROUP", "groups")]
    rows += [{"type": value} for value in ("int", "INT", "Float", "bool")]
    rows += [{"strategy": "tensor_group", "group_size": 16, "dynamic": value} for value in ("LOCAL", "no")]
    rows += [{"type": "float", "num_bits": bits} for bits in (4, 5, 6, 8)]
    rows += [{"num_bits": bits} for bits in (1, 2, 3, 8)]
    dtypes = ("torch.uint8", "uint8", "torch.float8_e4m3fn", "float", "uint", None)
    for key, value, symmetric in itertools.product(("scale_dtype", "zp_dtype"), dtypes, (True, False)):
        rows.append({key: value, "symmetric": symmetric})
    rows += [{"observer": value} for value in ("mse", "minmax", None)]
    rows += [{"observer_kwargs": value} for value in ({}, {"maxshrink": 0.1}, None, [1])]
    rows += [{}, {"num_bit": 4}, dict(INT4, symmetric=False)]
    return [dumped(QuantizationArgs, row) for row in rows]


def scheme_rows():
    from compressed_tensors.quantization import QuantizationScheme

    args = [
        {"strategy": "tensor"},
        {"strategy": "channel"},
        {"strategy": "group", "group_size": 32},
        {"strategy": "block", "block_structure": [2, 2]},
        TOKEN8,
        {"strategy": "tensor_group", "group_size": 16},
        {"strategy": "attn_head"},
        {"actorder": "weight", "group_size": 8},
    ]
    keys = ("weights", "input_activations", "output_activations")
    rows = [{"targets": ["Linear"], key: value} for key in keys for value in args]
    formats = ("pack-quantized", "int-quantized", "mixed-precision", "dense", "packed")
    rows += [{"targets": ["Linear"], "format": value} for value in formats]
    rows += [{}, {"targets": ["a", "re:b"]}, {"targets": ["a"], "weight": None},
             {"targets": ["a"], "weights": {"bits": 4}}]
    return [dumped(QuantizationScheme, row) for row in rows]


def inferred_format(scheme):
    from compressed_tensors.compressors.format import infer_module_format

    return infer_module_format(torch.nn.Linear, scheme).value


def format_rows():
    from compressed_tensors.quantization import QuantizationScheme

    weights = [None] + [
        dict(num_bits=bits, type=type, group_size=size, scale_dtype=scale)
        for type, all_bits in (("int", (2, 4, 8)), ("float", (4, 6, 8)))
        for bits in all_bits
        for size in (None, 16, 32, 128)
        for scale in (None, "uint8")
    ]
    inputs = [None, TOKEN8, dict(TOKEN8, type="float")]
    pairs = itertools.product(weights, inputs)
    schemes = [QuantizationScheme(targets=["Linear"], weights=w, input_activations=i) for w, i in pairs]
    return [{"scheme": scheme.model_dump(mode="json"), "format": inferred_format(scheme)} for scheme in schemes]


def preset_rows():
    from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES, preset_name_to_scheme

    for name in PRESET_SCHEMES:
        scheme = preset_name_to_scheme(name, ["Linear"])
        yield {"name": name, "scheme": scheme.model_dump(mode="json"), "format": inferred_format(scheme)}


def target_rows():
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
    from transformers import AutoConfig, AutoModelForCausalLM

    q, layer, down = "re:.*q_proj", "re:model.layers.0.*", "model.layers.0.mlp.down_proj"
    cases = [
        ([["Linear"]], ["lm_head"]),
        ([["Linear"], [q]], ["lm_head"]),
        ([[q], ["Linear"]], ["re:.*mlp.*"]),
        ([[layer], [q]], []),
        ([[q], [layer], [down]], []),
        ([[down, "Linear"], ["re:.*proj"]], ["model.layers.0.mlp.up_proj"]),
        ([["Embedding"], ["Linear"]], ["re:.*v_proj"]),
        ([["re:.*embed_tokens", "re:.*o_proj"]], []),
        ([["Linear"], ["Linear"]], []),
        ([["Module"], ["lm_head"]], ["LlamaMLP"]),
        ([["re:.*self_attn", "re:.*self_attn.q_proj"]], []),
        ([["Linear"], ["UNQUANTIZED", "re:.*k_proj"]], ["lm_head"]),
        ([["Linear", "UNQUANTIZED"], [q]], []),
    ]
    for (groups, ignore), model in itertools.product(cases, ("llama", "llama_tied", "qwen3")):
        schemes = {}
        for index, targets in enumerate(groups):
            nothing = "UNQUANTIZED" in targets
            args = {} if nothing else {"weights": {"num_bits": index + 2, "group_size": -1}}
            schemes[f"group_{index}"] = {"targets": [t for t in targets if t != "UNQUANTIZED"], **args}
        torch_model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(HERE / "transforms" / model))
        config = QuantizationConfig.model_validate({"config_groups": schemes, "ignore": ignore})
        apply_quantization_config(torch_model, config, show_progress=False)
        stored = QuantizationConfig.from_pretrained(torch_model)
        bits = {
            name: module.quantization_scheme.weights.num_bits
            for name, module in torch_model.named_modules()
            if getattr(getattr(module, "quantization_scheme", None), "weights", None)
        }
        row = {"model": model, "config_groups": schemes, "ignore": ignore}
        yield row | {"bits": bits, "stored_ignore": stored.ignore}


RECIPES = [
    {"scheme": "W4A16"},
    {"scheme": "w8a8", "targets": ["re:.*mlp.*", "lm_head"], "ignore": ["lm_head"]},
    {"scheme": "W4A16_ASYM", "targets": "Linear", "weight_observer": "mse"},
    {"scheme": {"W4A16": ["re:.*q_proj"], "FP8_DYNAMIC": "Linear"}},
    {"scheme": "W8A8", "observer": {"weights": "mse", "input": "static_minmax"}},
    {"scheme": "FP8", "input_observer": "mse"},
    {"scheme": "FP8"},
    {"scheme": "NVFP4"},
    {"scheme": "FP8_BLOCK"},
    {"scheme": "UNQUANTIZED"},
    {"config_groups": {"mine": {"targets": ["Linear"],
                                "weights": dict(INT4, observer="mse", observer_kwargs={"grid": 50})}}},
    {"config_groups": {"mine": {"targets": ["Linear"], "weights": INT4, "output_activations": FP8}},
     "output_observer": "mse"},
    {"config_groups": {"a": {"targets": ["Linear"], "weights": INT4, "input_activations": TOKEN8}},
     "ignore": ["lm_head"]},
    {"scheme": "W4A16", "config_groups": {"a": {"targets": ["Linear"]}}},
    {"scheme": "W4A17"},
    {"scheme": {"W4A17": ["Linear"]}},
    {"scheme": {"num_bits": 4}},
    {"scheme": "W4A16", "observer": {"weight": "mse"}},
    {"scheme": "W4A16", "observer": {"weights": 1}},
    {"scheme": "W4A16", "observer": {"weights": "mse"}, "input_observer": "mse"},
    {"scheme": "W4A16", "kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": "never"}},
    {"scheme": "W4A16", "target": ["Linear"]},
    {"config_groups": {"a": {"targets": ["Linear"], "input_activations": {"strategy": "channel"}}}},
]

GROUP4 = {"num_bits": 4, "group_size": 4}
BLOCKS = [
    {"scheme": "W8A8", "ignore": ["lm_head"]},
    {"scheme": "FP8_DYNAMIC", "ignore": ["re:.*lm_head"]},
    {"scheme": "FP8_BLOCK", "targets": ["Linear"]},
    {"scheme": {"FP8_DYNAMIC": ["re:.*down_proj"], "W8A8": ["re:.*q_proj"]}, "observer": {"weights": "mse"}},
    {"config_groups": {"x": {"targets": ["Linear"], "weights": GROUP4}}, "ignore": ["lm_head"]},
    {"config_groups": {"x": {"targets": ["Linear"], "weights": dict(GROUP4, symmetric=False, observer="mse")}}},
    {
        "config_groups": {"x": {"targets": ["Linear", "Embedding"], "weights": dict(GROUP4, actorder="weight")}},
        "ignore": ["re:.*v_proj"],
    },
    {"config_groups": {"x": {"targets": ["Linear"], "weights": dict(GROUP4, group_size=-1),
                             "format": "int-quantized"}}},
]


def newer_form(args):
    """The args of 0.19 as 0.20 writes them."""
    if args is None:
        return None
    kept = {key: value for key, value in args.items() if key == "group_size" or value not in (None, {})}
    if kept.get("zp_dtype") == "torch.int8":
        del kept["zp_dtype"]
    return kept


def newer_scheme(scheme):
    parts = ("weights", "input_activations", "output_activations")
    return {key: newer_form(value) if key in parts else value for key, value in scheme.items()}


def recipe_rows():
    from llmcompressor.modifiers.quantization import QuantizationModifier

    for fields in RECIPES:
        row = {"fields": fields}
        try:
            config = QuantizationModifier(**json.loads(json.dumps(fields))).resolved_config.model_dump(mode="json")
        except (ValueError, NotImplementedError, KeyError):
            yield row
            continue
        groups = {name: newer_scheme(scheme) for name, scheme in config["config_groups"].items()}
        yield row | {"config_groups": groups, "ignore": config["ignore"]}


def block_rows():
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    for fields in BLOCKS:
        with tempfile.TemporaryDirectory() as directory:
            recipe = QuantizationModifier(**json.loads(json.dumps(fields)))
            source = str(HERE / "transforms/llama")
            oneshot(model=source, recipe=recipe, pipeline="datafree", precision="float32", output_dir=directory)
            block = json.loads((Path(directory) / "config.json").read_text())["quantization_config"]
        block["config_groups"] = {name: newer_scheme(scheme) for name, scheme in block["config_groups"].items()}
        assert block.pop("version").startswith("0.19")
        block["moe_sparsity_config"] = None
        yield {"fields": fields, "block": block}


def main():
    OUT.mkdir(exist_ok=True)
    if importlib.util.find_spec("llmcompressor"):
        write("recipes", recipe_rows())
        write("blocks", block_rows())
        return
    write("presets", preset_rows())
    write("args", args_rows())
    write("schemes", scheme_rows())
    write("formats", format_rows())
    write("targets", target_rows())


if __name__ == "__main__":
    main()
