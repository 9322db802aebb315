"""What `--for` refuses, and what config.json says so that vLLM, SGLang and transformers read it alike."""

import json
import re

import pytest
import torch

from command import refused, spinor
from mtp_test import make as make_mtp
from tiny_models import SHAPES, save

SHAPES["blocks"] = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "tie_word_embeddings": False,
}
INT4 = {"num_bits": 4, "strategy": "group", "group_size": 32}
INT8 = {"num_bits": 8, "strategy": "channel"}
ROWS = {"num_bits": 8, "strategy": "group", "group_size": 32}
TOKENS = {"num_bits": 8, "strategy": "token", "dynamic": True}
FP8 = {"num_bits": 8, "type": "float"}
CACHE = {**FP8, "strategy": "tensor", "dynamic": False}
HEAD = ["lm_head"]
ATTENTION, MLP = "re:.*self_attn.*", "re:.*mlp.*"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    save(folder / "mistral", "mistral", "blocks", torch.bfloat16)
    save(folder / "deepseek_v3", "deepseek_v3", "plain", torch.bfloat16)
    return folder


def arguments(folder, ignore=HEAD, scheme=None, groups=None, quip=None, options=(), **fields):
    """Of spinor quantize: a recipe with these fields, and options behind it."""
    modifiers = {"QuIPModifier": quip} if quip else {}
    given = {"scheme": scheme} if scheme else {"config_groups": {f"g{i}": group for i, group in enumerate(groups)}}
    modifiers["QuantizationModifier"] = {"ignore": ignore, **given, **fields}
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps({"default_stage": {"default_modifiers": modifiers}}))
    return ["--recipe", recipe, *options]


def group(targets, weights, inputs=None, **more):
    return {
        "targets": targets if isinstance(targets, list) else [targets],
        "weights": weights,
        **({"input_activations": inputs} if inputs else {}),
        **more,
    }


Q8 = [group("re:.*q_proj$", INT8), group(["re:.*(k|v|o)_proj$", MLP], INT4)]
EXPERT = "model.layers.1.mlp.experts.3"
REFUSED = [
    ("vllm", {"scheme": "W4A4", "format": "int-quantized"},
     "has no kernel for weights of 4 bits int, group of 128, int-quantized", "use format: pack-quantized"),
    ("vllm", {"groups": [group("Linear", ROWS, TOKENS)]},
     "has no kernel for weights of 8 bits int, group of 32, int-quantized", "use format: pack-quantized"),
    ("vllm", {"groups": [group("Linear", {"num_bits": 8, "strategy": "tensor"})]},
     "has no kernel for weights of 8 bits int, tensor, pack-quantized", "use integers of 2 to 8 bits"),
    ("vllm", {"groups": [group("Linear", INT8, output_activations={**INT8, "strategy": "tensor"})]},
     "leaves the outputs of", "leave output_activations out"),
    ("vllm", {"scheme": "W8A8", "kv_cache_scheme": {**TOKENS, "symmetric": False}},
     "has no cache of 8 bits int, token, asymmetric, dynamic", "use FP8"),
    ("vllm", {"scheme": "W8A8", "kv_cache_scheme": {**CACHE, "dynamic": True}},
     "takes 1 for scales", "use dynamic: false"),
    ("vllm", {"groups": Q8},
     "fuses q_proj, k_proj, v_proj, and reads all of them by one scheme", "one scheme, or ignore all"),
    ("vllm", {"scheme": "W8A8", "ignore": [*HEAD, "re:.*up_proj"]},
     "fuses gate_proj, up_proj, and fails where only some of them are in ignore", "ignore all"),
    ("vllm", {"scheme": "W8A8", "quip": {"rotations": ["v"], "ignore": [*HEAD, "re:.*k_proj"]}},
     "fuses it with model.layers.0.self_attn.q_proj", "one transform"),
    ("vllm", {"groups": [group("Embedding", INT8, TOKENS)]},
     "looks up no tokens in weights of 8 bits int", "leave the embedding out"),
    ("vllm", {"groups": [group("Embedding", {"num_bits": 3, "strategy": "channel"})]},
     "looks up no tokens in weights of 3 bits int", "leave the embedding out"),
    ("vllm", {"scheme": "FP8_BLOCK"}, "cannot quantize 192 inputs in groups of 128", "leave the module out"),
    ("vllm", {"scheme": "FP8_BLOCK", "ignore": [*HEAD, "re:.*down_proj"]},
     "cannot fuse a linear of 64 rows in blocks of 128", "use FP8_DYNAMIC"),
    ("sglang", {"scheme": "W8A8", "quip": {"rotations": ["v"], "ignore": HEAD}},
     "ignores transform_config: it drops the online transform v at input", "leave it out"),
    ("sglang", {"scheme": "W3A16"}, "has no kernel for weights of 3 bits int", "use W4A16"),
    ("sglang", {"scheme": "MXFP4A16"}, "has no kernel for weights of 4 bits float", "use W4A16"),
    ("sglang", {"groups": [group("Embedding", INT8)]},
     "reads the embedding as not quantized", "leave the embedding out"),
    ("sglang", {"scheme": "W8A8", "kv_cache_scheme": {**CACHE, "dynamic": True}},
     "ignores a cache of 8 bits float, tensor, dynamic", "use FP8"),
    ("sglang", {"groups": Q8}, "fuses q_proj, k_proj, v_proj", "one scheme"),
    ("llama.cpp", {"scheme": "W8A8", "quip": {"rotations": ["v"], "ignore": HEAD}},
     "has nothing that runs the online transform v", "leave it out"),
    ("llama.cpp", {"scheme": "W3A16"}, "has no converter for weights of 3 bits int", "run spinor dequantize"),
    ("llama.cpp", {"groups": [group("Linear", INT8)]},
     "has no converter for weights of 8 bits int, channel, pack-quantized", "run spinor dequantize"),
    ("llama.cpp", {"scheme": "MXFP4A16"}, "has no converter for weights of 4 bits float", "run spinor dequantize"),
    ("llama.cpp", {"groups": [group(ATTENTION, INT4), group(MLP, ROWS)]},
     "reads config.json's first group", "run spinor dequantize"),
    ("llama.cpp", {"scheme": "FP8"}, "has no converter for weights of 8 bits float, tensor", "run spinor dequantize"),
    ("llama.cpp", {"groups": [group("Linear", FP8 | {"strategy": "channel"}, FP8 | {"strategy": "tensor"})]},
     "does not know the static scales of weights of 8 bits float", "dynamic activations"),
    ("llama.cpp", {"scheme": "W8A8", "kv_cache_scheme": CACHE}, "does not read kv_cache_scheme", "leave it out"),
    ("transformers", {"groups": [group("Embedding", INT8)]},
     "cannot look up tokens in a quantized embedding", "leave it out"),
    ("transformers", {"scheme": "FP8_BLOCK"}, "cannot quantize 192 inputs in groups of 128", "leave the module out"),
]  # fmt: skip
EXPERTS = [
    ("vllm", {"scheme": "W8A8", "ignore": [*HEAD, f"re:{EXPERT}\\."]},
     "reads all experts of a layer as the first, model.layers.1.mlp.experts.0.gate_proj", "all experts of a layer"),
    ("vllm", {"scheme": "W8A8", "ignore": [*HEAD, "re:.*experts.*down_proj"]},
     "reads the projections of an expert by one scheme", "all experts of a layer"),
    ("vllm", {"scheme": "W8A8", "quip": {"rotations": ["v"], "ignore": HEAD}},
     "never runs the online transform v at input of an expert", "leave it out"),
    ("vllm", {"groups": [group("re:.*experts.*", FP8 | {"strategy": "channel"})]},
     "has no kernel for weights of 8 bits float, channel, naive-quantized", "use integers"),
    ("sglang", {"scheme": "W8A8"}, "has no kernel for weights of 8 bits int", "use W4A16"),
    ("transformers", {"scheme": "W8A8", "ignore": [*HEAD, "re:.*experts.*"]},
     "puts weights together while it loads", "FP8_DYNAMIC"),
    ("sglang", {"groups": [group("re:.*experts.*", {**INT4, "group_size": 8})], "ignore": [*HEAD, f"re:{EXPERT}\\."]},
     "reads all experts of a layer as the first", "all experts of a layer"),
]  # fmt: skip


@pytest.mark.parametrize(
    "family, client, recipe, problem, hint",
    [("mistral", *row) for row in REFUSED] + [("deepseek_v3", *row) for row in EXPERTS],
)
def test_what_a_client_would_not_compute_is_refused(sources, tmp_path, family, client, recipe, problem, hint):
    message = refused("quantize", sources / family, tmp_path / "out", *arguments(tmp_path, **recipe), "--for", client)
    assert f": {client} {problem}" in message and hint in message.partition(";")[2]
    assert not (tmp_path / "out").exists()


ACCEPTED = [
    ("vllm", {"scheme": "W4A4", "format": "pack-quantized", "ignore": [*HEAD, "re:.*down_proj"]}),
    *(("vllm", {"groups": [group("Linear", {**INT4, "num_bits": bits})]}) for bits in (2, 3, 5, 6, 7)),
    ("vllm", {"groups": [group("Embedding", INT8)]}),
    ("vllm", {"scheme": "FP8_BLOCK", "ignore": [*HEAD, MLP, ATTENTION.replace("self_attn", "[qkv]_proj")]}),
    ("sglang", {"scheme": "NVFP4A16"}),
    ("llama.cpp", {"scheme": "NVFP4A16"}),
    ("llama.cpp", {"groups": [group("Linear", INT4)]}),
    ("transformers,vllm,sglang,llama.cpp", {"scheme": "W8A8"}),
    ("transformers,vllm,sglang,llama.cpp", {"scheme": "FP8_DYNAMIC"}),
]


@pytest.mark.parametrize("client, recipe", ACCEPTED)
def test_what_a_client_computes_is_written(sources, tmp_path, client, recipe):
    spinor(
        "quantize", sources / "mistral", tmp_path / "out", *arguments(tmp_path, **recipe), "--for", client, "--quiet"
    )


def stored(out):
    return json.loads((out / "config.json").read_text())["quantization_config"]


def targets(config):
    return [entry["targets"] for entry in config["config_groups"].values()]


ALIKE = [
    # Whoever takes the first target of the file would take o_proj of layer 1 for 8 bits; compressed-tensors takes
    # names first.
    (
        {"groups": [group("re:.*self_attn\\.(q|k|v|o)_proj$", INT8), group("model.layers.1.self_attn.o_proj", INT4)]},
        [
            [
                *(rf"re:(.*\.)?layers\.\d+\.self_attn\.{part}_proj$" for part in "qkv"),
                "model.layers.0.self_attn.o_proj",
            ],
            ["model.layers.1.self_attn.o_proj"],
        ],
    ),
    # A class is no name of the head to vLLM and SGLang, and a name none of the embedding to vLLM.
    ({"groups": [group("Linear", INT8)], "ignore": []}, [["Linear", "lm_head"]]),
    ({"groups": [group("model.embed_tokens", INT8)]}, [["model.embed_tokens", "Embedding"]]),
    # Where all read the recipe's targets alike, they stay.
    ({"groups": [group(ATTENTION, INT8), group(MLP, INT4)]}, [[ATTENTION], [MLP]]),
]  # fmt: skip


@pytest.mark.parametrize("recipe, expected", ALIKE)
def test_targets_are_written_so_that_all_read_the_same(sources, tmp_path, recipe, expected):
    spinor(
        "quantize", sources / "mistral", tmp_path / "out", *arguments(tmp_path, **recipe), "--for", "vllm", "--quiet"
    )
    assert targets(stored(tmp_path / "out")) == expected
    spinor("dequantize", tmp_path / "out", tmp_path / "dense", "--quiet")  # spinor's reader is compressed-tensors'


def test_sglang_sees_targets_of_parts_that_a_class_would_hide(sources, tmp_path):
    recipe = {"groups": [group("Linear", INT8), group("re:.*self_attn\\.(q|k|v)_proj$", INT4)]}
    spinor(
        "quantize",
        sources / "mistral",
        tmp_path / "out",
        *arguments(tmp_path, **recipe),
        "--for",
        "vllm,sglang",
        "--quiet",
    )
    assert "Linear" not in sum(targets(stored(tmp_path / "out")), [])


@pytest.mark.parametrize("family", ["deepseek_v3", "mimo"])
def test_heads_for_further_tokens_are_named_in_ignore(tmp_path, family):
    """Programs that load them do so by the same config, whose Linear would mean them."""
    extra = make_mtp(tmp_path / "source", family, dtype=torch.bfloat16)
    spinor(
        "quantize",
        tmp_path / "source",
        tmp_path / "out",
        "--scheme",
        "W8A8",
        "--ignore",
        "re:.*0.*down_proj,lm_head",
        "--quiet",
    )
    ignored = set(stored(tmp_path / "out")["ignore"])
    linears = {name.removesuffix(".weight") for name in extra if re.search(r"(proj|fc|gate)\.weight$", name)}
    assert linears and linears <= ignored
    assert {"lm_head", "model.layers.0.mlp.down_proj"} <= ignored
    spinor(
        "quantize",
        tmp_path / "source",
        tmp_path / "less",
        "--scheme",
        "W8A8",
        "--rotations",
        "R2",
        "--mtp",
        "drop",
        "--quiet",
    )
    assert not linears & set(stored(tmp_path / "less")["ignore"])
