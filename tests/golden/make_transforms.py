"""Writes transforms/*: what compressed-tensors does with transform configs, targets and weights.

Pinned: compressed-tensors 0.20.0, transformers 5.23.0, torch 2.13.0 (CPU). Run: python make_transforms.py
"""

import json
from itertools import product
from pathlib import Path

import torch
from compressed_tensors.transform import TransformConfig, apply_transform_config
from compressed_tensors.utils.match import match_modules_set, match_named_modules
from pydantic import ValidationError
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

OUT = Path(__file__).parent / "transforms"


def write_json(name, rows):
    lines = ",\n".join(json.dumps(row) for row in rows)
    (OUT / name).write_text(f"[\n{lines}\n]\n")


# ---- configs: is a JSON text accepted, and what does the peer dump for it?


def scheme(**fields):
    return {"config_groups": {"R1": {"type": "hadamard"} | fields}}


def args(**fields):
    return scheme(apply=[{"targets": ["Linear"], "location": "input"} | fields])


CONFIGS = [
    {"config_groups": {}},
    scheme(),
    scheme(type="Random_Hadamard", randomize=True, requires_grad=True, head_dim=64, precision="float64"),
    scheme(type="no-such-type"),
    scheme(head_dim=None),
    *(scheme(precision=p) for p in ("torch.bfloat16", "double", "half", "int", "torch.float8_e4m3fn", "cfloat", "bit")),
    args(),
    args(targets="lm_head", ignore="re:.*down_proj$"),
    args(targets=[], ignore=[]),
    args(targets=["re:.*q_proj$", "k_proj"], inverse=True, ignore=["lm_head", "Embedding"]),
    *(args(location=l) for l in ("weight_input", "weight_output", "output", "k_cache", "q_attn")),
    {"config_groups": {"v": {"type": "hadamard"}, "R1": {"type": "random-matrix"}, "a": {"type": "hadamard"}}},
    # refused
    {},
    [],
    {"config_groups": None},
    {"config_groups": []},
    {"config_groups": {}, "version": 1},
    {"config_groups": {"R1": {}}},
    {"config_groups": {"R1": None}},
    scheme(type=None),
    scheme(type=3),
    scheme(block_size=16),
    scheme(transform_block_size=16),
    scheme(apply=None),
    scheme(apply={}),
    scheme(apply=[None]),
    scheme(apply=[{"location": "input"}]),
    scheme(apply=[{"targets": ["Linear"]}]),
    scheme(randomize=None),
    scheme(randomize="maybe"),
    scheme(requires_grad=[]),
    scheme(head_dim="sixteen"),
    scheme(head_dim=1.5),
    scheme(precision=None),
    scheme(precision="bf16"),
    scheme(precision="torch.torch.float32"),
    scheme(precision="tensor"),
    scheme(precision=64),
    args(location="weight"),
    args(location="INPUT"),
    args(location=None),
    args(targets=None),
    args(targets=[1]),
    args(targets={"a": 1}),
    args(ignore=None),
    args(inverse="perhaps"),
    args(transpose=True),
    # accepted by pydantic's coercions, which spinor does not imitate
    scheme(randomize="yes"),
    scheme(randomize=1),
    scheme(head_dim="16"),
    scheme(head_dim=16.0),
    scheme(head_dim=True),
    args(inverse="false"),
]
COERCED = 6


def make_configs():
    rows = []
    for i, config in enumerate(CONFIGS):
        row = {"input": config, "coerced": i >= len(CONFIGS) - COERCED}
        try:
            row["dump"] = TransformConfig.model_validate_json(json.dumps(config)).model_dump(mode="json")
        except ValidationError:
            pass
        rows.append(row)
    write_json("configs.json", rows)


def make_merges():
    def groups(names):
        return TransformConfig(config_groups={name: {"type": "hadamard"} for name in names})

    rows = []
    for first, second in [
        (["R1"], ["R2"]),
        (["R1"], ["R1"]),
        (["R1"], ["R1", "R1_1"]),
        (["R1", "R1_1"], ["R1"]),
        (["R1_1"], ["R1_1"]),
        (["a_7"], ["a_7", "a_07"]),
        (["_3"], ["_3"]),
        (["a_"], ["a_"]),
        (["x_1_2", "x_1_3"], ["x_1_2"]),
        ([""], [""]),
    ]:
        merged = groups(first)
        merged.merge(groups(second))
        rows.append({"first": first, "second": second, "merged": list(merged.config_groups)})
    write_json("merges.json", rows)


# ---- tiny models


def tiny(config_class, **fields):
    sizes = dict(
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=16,
        max_position_embeddings=32,
        tie_word_embeddings=False,
        dtype=torch.float64,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_class(**(sizes | fields))).to(torch.float64)
    with torch.no_grad():  # biases and norms away from their neutral values
        for _, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64).mul_(64).round_().div_(64))
    return model


MODELS = {
    "llama": lambda: tiny(LlamaConfig, attention_bias=True, mlp_bias=True),
    "llama_tied": lambda: tiny(LlamaConfig, tie_word_embeddings=True),
    "qwen3": lambda: tiny(Qwen3Config, head_dim=4),
}


def make_models():
    for name, make in MODELS.items():
        make().save_pretrained(OUT / name)
        (OUT / name / "generation_config.json").unlink()


# ---- matching

TARGETS = [
    (["Linear"], []),
    (["Linear"], ["lm_head"]),
    (["Embedding"], []),
    (["Module"], []),
    (["Module"], ["Linear"]),
    (["LlamaAttention"], []),
    (["LlamaRMSNorm"], []),
    (["Qwen3RMSNorm", "Qwen3Attention"], ["re:.*q_norm"]),
    (["LlamaModel", "LlamaForCausalLM", "LlamaDecoderLayer", "LlamaMLP"], []),
    (["PreTrainedModel"], []),
    (["GenerationMixin"], []),
    (["ModuleList", "Module_List"], []),
    (["linear"], []),
    (["lm_head", "model.norm"], []),
    (["norm", "embed_tokens"], []),
    (["q_proj"], []),
    ([""], []),
    (["model"], []),
    (["model.layers.1"], []),
    (["model.layers.0.self_attn.q_proj"], []),
    (["re:.*q_proj$"], []),
    (["re:q_proj"], []),
    (["re:.*_proj"], ["re:.*down_proj$", "re:.*[qkv]_proj$"]),
    (["re:.*proj"], ["Linear"]),
    (["re:"], []),
    (["re:$"], []),
    (["re:lm_head", "re:.*lm_head", "lm_head"], []),
    (["re:.*\\.0\\.(?!mlp).*_proj$"], []),
    (["re:model.layers.[0-9]+.mlp.(gate|up)_proj$"], []),
    (["re:.*attn.q_proj$"], []),
    (["re:.*self_attn$"], []),
    (["re:.*layernorm$"], []),
    (["re:MODEL.*"], []),
    (["re:(?i)MODEL\\.norm"], []),
    (["Linear", "re:.*embed_tokens$"], ["re:.*layers\\.1\\..*"]),
    ([], []),
]
SETS = [
    ["re:.*input_layernorm$", "re:.*q_proj$", "re:.*k_proj$", "re:.*v_proj$"],
    ["re:.*post_attention_layernorm$", "re:.*up_proj$", "re:.*gate_proj$"],
    ["model.norm", "lm_head"],
    ["re:.*q_proj$"],
    ["re:.*layernorm$", "re:.*_proj$"],
    ["re:.*v_proj$", "re:.*o_proj$"],
    ["re:.*down_proj$", "re:.*q_proj$"],
    ["re:.*q_proj$", "re:.*q_proj$"],
    ["Linear", "re:.*q_proj$"],
    ["model.norm", "model.layers.0.mlp"],
    ["re:.*embed_tokens$", "re:.*o_proj$"],
    ["re:.*q_proj$", "lm_head"],
    ["no_such", "nor_this"],
    ["re:.*q_proj$", "no_such"],
    ["LlamaRMSNorm", "Embedding"],
    ["model.layers.1.mlp.up_proj", "re:.*mlp$"],
    [""],
    ["", "model"],
    [],
]


def make_matches():
    rows = []
    for model_name, make in MODELS.items():
        model = make()
        for targets, ignore in TARGETS:
            found = [name for name, _ in match_named_modules(model, targets, ignore)]
            rows.append({"model": model_name, "targets": targets, "ignore": ignore, "names": found})
    write_json("matches.json", rows)
    rows = []
    for model_name in ("llama", "qwen3"):
        model = MODELS[model_name]()
        names = {module: name for name, module in model.named_modules()}
        for targets in SETS:
            row = {"model": model_name, "targets": targets}
            try:
                sets = list(match_modules_set(model, targets))
                row["sets"] = [[[names[m] for m in modules] for modules in one] for one in sets]
            except ValueError as error:
                row["error"] = "rematch" if "multiple targets" in str(error) else "incomplete"
            rows.append(row)
    write_json("sets.json", rows)


# ---- weights

Q, DOWN, EMBED = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.embed_tokens"
K = "model.layers.0.self_attn.k_proj"


def one(type, location, inverse, randomize=False, head_dim=None, targets=(Q, K, DOWN, EMBED)):
    apply = [{"targets": list(targets), "location": location, "inverse": inverse}]
    fields = dict(type=type, randomize=randomize, head_dim=head_dim, precision="torch.float64", apply=apply)
    return {"config_groups": {"t": fields}}


def pair(location, inverse_location, **fields):
    args = [dict(targets=["Linear"], ignore=["lm_head"], location=location)]
    args += [dict(targets=["Linear"], ignore=["lm_head"], location=inverse_location, inverse=True)]
    return {"apply": args, "precision": "torch.float64"} | fields


def weight_cases():
    types = ("hadamard", "random-hadamard", "random-matrix")
    for type, location, inverse, randomize, head_dim in product(
        types, ("weight_input", "weight_output"), (False, True), (False, True), (None, 4)
    ):
        targets = (Q, K, DOWN, EMBED)
        if type == "random-matrix" and randomize:
            continue  # means nothing there
        if type == "hadamard" and head_dim is None and location == "weight_input":
            targets = (Q, K, EMBED)  # 12 columns
        yield one(type, location, inverse, randomize, head_dim, targets)
    # several sizes, args and groups: the order of the draws, and the order of the products
    for type, randomize in product(("random-hadamard", "random-matrix"), (False, True)):
        v = pair("input", "weight_input", type=type, randomize=randomize)
        u = pair("weight_output", "output", type=type, randomize=randomize)
        yield {"config_groups": {"v": v, "u": u}}
    stream = [
        {"targets": ["re:.*embed_tokens$", "re:.*o_proj$", "re:.*down_proj$"], "location": "weight_output"},
        {
            "targets": ["re:.*[qkv]_proj$", "re:.*(up|gate)_proj$", "lm_head"],
            "location": "weight_input",
            "inverse": True,
        },
    ]
    heads = [
        {"targets": ["re:.*v_proj$"], "location": "weight_output"},
        {"targets": ["re:.*o_proj$"], "location": "weight_input", "inverse": True},
    ]
    for type in ("random-hadamard", "random-matrix"):
        base = dict(type=type, precision="torch.float64")
        yield {"config_groups": {"R1": base | {"apply": stream}, "R2": base | {"apply": heads, "head_dim": 4}}}


def make_weights():
    configs, tensors = [], {}
    for i, config in enumerate(weight_cases()):
        model = MODELS["llama"]()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        apply_transform_config(model, TransformConfig.model_validate(config))
        for name, p in model.named_parameters():
            if name in before and not torch.equal(before[name], p):
                tensors[f"{i}:{name}"] = p.detach().clone()
        configs.append(config)
    write_json("weights.json", configs)
    save_file(tensors, OUT / "weights.safetensors")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    make_configs()
    make_merges()
    make_models()
    make_matches()
    make_weights()
