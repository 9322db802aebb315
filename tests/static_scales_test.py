"""Scales that calibration finds for activations, keys and values: what they are, and that transformers runs the
same."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

from calibrated import CONTEXT, SAMPLES, calibration, gptq, moe, recipe, source  # noqa: F401  source is a fixture
from command import run, spinor
from logits import TOKENS, difference, logits
from runtime_test import computed

KV = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
PER_TENSOR = {"num_bits": 8, "type": "int", "symmetric": False, "strategy": "tensor", "dynamic": False}
STATIC = {
    "FP8": {"scheme": "FP8"},
    "W8A8 per tensor, asymmetric": {
        "config_groups": {
            "g": {
                "targets": ["Linear"],
                "weights": {"num_bits": 8, "strategy": "channel"},
                "input_activations": {**PER_TENSOR, "observer": "mse"},
            }
        }
    },
    "NVFP4": {"scheme": "NVFP4"},
    "FP8, keys and values": {"scheme": "FP8", "kv_cache_scheme": KV},
    "FP8, keys and values per head": {"scheme": "FP8", "kv_cache_scheme": {**KV, "strategy": "attn_head"}},
}


def with_weights(model, dense, monkeypatch):
    """compressed-tensors makes bfloat16 of NVFP4's weights, and a value that this moves across a rounding boundary of
    4-bit activations moves all that follow: the model computes with the weights that the codes stand for instead."""
    weights, linear = [], torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear",
                        lambda x, w, b=None: linear(x, weights.pop() if weights else w, b))
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and f"{name}.weight" in dense:
            module.register_forward_pre_hook(lambda m, x, w=dense[f"{name}.weight"]: weights.append(w))
    return model


@pytest.mark.parametrize("modifier", ["QuantizationModifier", "GPTQModifier"])
@pytest.mark.parametrize("name", STATIC)
def test_static_scales_run_as_in_transformers(source, tmp_path, monkeypatch, name, modifier):
    """A value on the other side of a rounding boundary moves what follows by a step of the codes, so that float32 sums
    in another order may show; both agree far better with each other than with the model that was not quantized."""
    arguments = {"ignore": ["lm_head"], **STATIC[name]}
    if "scheme" in arguments:
        arguments["targets"] = "Linear"
    out = tmp_path / "out"
    steps = recipe(tmp_path, (modifier, arguments))
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    spinor("dequantize", out, tmp_path / "dense", "--quiet")
    original, model = (AutoModelForCausalLM.from_pretrained(d, dtype=torch.float32).eval() for d in (source(), out))
    before = logits(original)
    theirs = logits(with_weights(model, load_file(tmp_path / "dense" / "model.safetensors"), monkeypatch))
    apart = difference(theirs, computed(out, torch.float32, tmp_path, tokens=TOKENS))[1]
    changed = difference(before, theirs)[1]
    assert changed > 1e-3 and apart <= 0.05 * changed, (apart, changed)


def observed(directory, tokens):
    """The inputs of every linear, and keys and values as they are cached, on the samples one by one, by
    transformers."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    inputs, cached = {}, {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda m, x, y, name=name: inputs.setdefault(name, []).append(x[0].detach()))
    for sample in tokens:
        with torch.no_grad():
            cache = model(sample[None], use_cache=True).past_key_values
        for i, layer in enumerate(cache.layers):
            cached.setdefault(f"model.layers.{i}.self_attn.k", []).append(layer.keys)
            cached.setdefault(f"model.layers.{i}.self_attn.v", []).append(layer.values)
    return inputs, cached


def largest(values):
    return max(value.abs().max().item() for value in values)


def test_static_scales_hold_the_range_of_the_inputs(source, tmp_path):
    """Of the model as it is: nothing is quantized while ranges are found, as in llm-compressor."""
    out, tokens = tmp_path / "out", torch.randint(3, 72, (SAMPLES, CONTEXT), generator=torch.Generator().manual_seed(1))
    kv = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
    arguments = {"targets": "Linear", "ignore": ["lm_head"], "scheme": "FP8", "observer": {"input": "static_minmax"}}
    kv["observer"] = "static_minmax"
    steps = recipe(tmp_path, ("QuantizationModifier", {**arguments, "kv_cache_scheme": kv}))
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path, tokens.flatten().tolist()), "--quiet")
    tensors = load_file(out / "model.safetensors")
    inputs, cached = observed(source(), tokens)
    for name, values in inputs.items():
        if name != "lm_head":
            assert tensors[name + ".input_scale"].item() == pytest.approx(largest(values) / 448, rel=1e-4), name
    for name, values in cached.items():
        assert tensors[name + "_scale"].item() == pytest.approx(largest(values) / 448, rel=1e-4), name
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert config["kv_cache_scheme"]["num_bits"] == 8
    AutoModelForCausalLM.from_pretrained(out, quantization_config=CompressedTensorsConfig(dequantize=True))


def test_nvfp4_has_global_scales_of_its_inputs(source, tmp_path):
    out, tokens = tmp_path / "out", torch.randint(3, 72, (SAMPLES, CONTEXT), generator=torch.Generator().manual_seed(1))
    arguments = {"targets": "Linear", "ignore": ["lm_head"], "scheme": "NVFP4", "observer": {"input": "static_minmax"}}
    steps = recipe(tmp_path, ("QuantizationModifier", arguments))
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path, tokens.flatten().tolist()), "--quiet")
    tensors = load_file(out / "model.safetensors")
    for name, values in observed(source(), tokens)[0].items():
        if name != "lm_head":
            scale = tensors[name + ".input_global_scale"].item()
            assert scale == pytest.approx(448 * 6 / largest(values), rel=1e-4), name


UNREACHED = [f"model.layers.1.mlp.experts.{i}" for i in range(2, 6)]
REACHED = [f"model.layers.1.mlp.experts.{i}" for i in (0, 1)]


@pytest.mark.parametrize("scheme,scale", [("FP8", "input_scale"), ("NVFP4", "input_global_scale")])
def test_an_expert_without_tokens_has_the_scale_of_the_others(tmp_path, scheme, scale):
    """That of the largest range, which vLLM gives to all of them; also where a run had been cut off."""
    steps = recipe(tmp_path, ("QuantizationModifier", {"targets": "Linear", "ignore": ["lm_head"], "scheme": scheme}))
    source, out = moe(tmp_path, hidden_size=64, moe_intermediate_size=32), tmp_path / "out"
    done = run("quantize", source, out, "--recipe", steps, *calibration(tmp_path))
    assert done.returncode == 0, done.stderr
    warning = "no calibration token reached it; its scale is for all that the layer's other experts saw"
    assert f"(see calibration.json): {warning}" in done.stderr
    tensors = load_file(out / "model.safetensors")
    widest = max if scheme == "FP8" else min  # a global scale is what values are multiplied by
    for linear in ("gate_proj", "up_proj", "down_proj"):
        expected = widest(tensors[f"{expert}.{linear}.{scale}"].item() for expert in REACHED)
        for expert in UNREACHED:
            assert tensors[f"{expert}.{linear}.{scale}"].item() == expected, (expert, linear)
    report = json.loads((out / "calibration.json").read_text())["activations"]
    assert {row["module"] for row in report if ".1.mlp." in row["module"]} == {
        f"{expert}.{linear}" for expert in UNREACHED for linear in ("gate_proj", "up_proj", "down_proj")
    }
    assert all(row["place"] == "input" and warning in row["warning"] for row in report)


def test_all_experts_see_every_token_on_request(tmp_path):
    """Those that read the stream have one scale then, and what follows the experts sees what it saw."""
    fp8 = {"scheme": "FP8", "observer": {"input": "static_minmax"}}
    steps = recipe(tmp_path, ("QuantizationModifier", {"targets": "Linear", "ignore": ["lm_head"], **fp8}))
    source, common = moe(tmp_path), ["--recipe", steps, *calibration(tmp_path)]
    tensors = {}
    for name, more in (("routed", []), ("all", ["--calibration-all-experts"])):
        done = run("quantize", source, tmp_path / name, *common, *more)
        assert done.returncode == 0 and ("no calibration token" in done.stderr) == (name == "routed"), done.stderr
        tensors[name] = load_file(tmp_path / name / "model.safetensors")
    scales = {tensors["all"][f"{expert}.up_proj.input_scale"].item() for expert in [*UNREACHED, *REACHED]}
    assert len(scales) == 1
    assert scales.pop() == max(tensors["routed"][f"{expert}.up_proj.input_scale"].item() for expert in REACHED)
    for name in (f"model.layers.1.self_attn.{x}_proj.input_scale" for x in "qkvo"):
        # float32 sums of as many rows as there are tokens, or of those of one expert
        assert tensors["all"][name].item() == pytest.approx(tensors["routed"][name].item(), rel=1e-5)


def test_gptq_takes_all_tokens_of_all_experts_on_request(tmp_path):
    steps, out = recipe(tmp_path, gptq("W8A8")), tmp_path / "out"
    spinor("quantize", moe(tmp_path), out, "--recipe", steps, *calibration(tmp_path), "--calibration-all-experts",
           "--quiet")
    modules = json.loads((out / "calibration.json").read_text())["modules"]
    assert {module["tokens"] for module in modules} == {SAMPLES * CONTEXT}
    assert {module["quantized"] for module in modules if "experts" in module["module"]} == {"gptq"}


def test_the_kv_cache_alone(source, tmp_path):
    """As llm-compressor writes it: dense weights, scales of keys and values beside them."""
    out = tmp_path / "out"
    steps = recipe(tmp_path, ("QuantizationModifier", {"kv_cache_scheme": KV}))
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    before, after = load_file(source() / "model.safetensors"), load_file(out / "model.safetensors")
    assert set(after) - set(before) == {f"model.layers.{i}.self_attn.{x}_scale" for i in range(2) for x in "kv"}
    assert all(torch.equal(after[name], before[name]) for name in before)
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert (config["config_groups"], config["ignore"], config["format"]) == ({}, [], "dense")
    assert config["kv_cache_scheme"]["num_bits"] == 8
    theirs = logits(AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval())
    original = logits(AutoModelForCausalLM.from_pretrained(source(), dtype=torch.float32).eval())
    apart = difference(theirs, computed(out, torch.float32, tmp_path, tokens=TOKENS))[1]
    changed = difference(original, theirs)[1]
    assert changed > 1e-4 and apart <= 0.05 * changed, (apart, changed)
