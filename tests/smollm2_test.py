"""A real model keeps its logits, and is read by transformers in every scheme that needs no data. Runs where `make demo`
has already fetched it: tests fetch nothing."""

import json
import os
import sys

import pytest
import torch
from safetensors.torch import load_file

from command import ROOT, spinor, spinor_json
from logits import difference, load, logits
from quantize_client_test import SCHEMES, WEIGHT_ONLY, dequantized

sys.path.insert(0, str(ROOT / "demo"))
import smollm2  # noqa: E402

SOURCE = smollm2.CACHE / "float32"


pytestmark = pytest.mark.skipif(not SOURCE.exists(), reason="SmolLM2 is not in .cache; make demo fetches it")
TOKENS = torch.randint(3, 49000, (1, 96), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("transform_type", ["random-hadamard", "random-orthogonal"])
def test_smollm2_keeps_its_logits(tmp_path, transform_type):
    out = tmp_path / "out"
    spinor("rotate", SOURCE, out, "--transform-type", transform_type, "--quiet")
    spinor("verify", SOURCE, out)
    largest, rms = difference(*(logits(load(path, torch.float32), TOKENS) for path in (SOURCE, out)))
    # Thirty layers of float32 activations on both sides.
    assert largest <= 1e-4 and rms <= 1e-5


INT = {"W4A16": (4, True), "W8A16": (8, True), "W3A16": (3, True), "W5A16": (5, True), "W4A16_ASYM": (4, False)}


def recipe(scheme, path):
    """Rotations R1 and R2, and the scheme; its integers in groups of 64, because 128 does not divide 576."""
    quantization = {"scheme": scheme, "ignore": ["lm_head"]}
    if scheme in INT:
        bits, symmetric = INT[scheme]
        weights = {"num_bits": bits, "symmetric": symmetric, "group_size": 64}
        quantization = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
                        "ignore": ["lm_head"]}
    elif scheme in ("W4A8", "W4AFP8"):
        inputs = {"num_bits": 8, "type": "float" if "FP" in scheme else "int", "strategy": "token", "dynamic": True}
        group = {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 64}, "input_activations": inputs}
        quantization = {"config_groups": {"group_0": group}, "ignore": ["lm_head"]}
    spinquant = {"rotations": ["R1", "R2"], "transform_type": "random-hadamard"}
    modifiers = {"SpinQuantModifier": spinquant, "QuantizationModifier": quantization}
    path.write_text(json.dumps({"test_stage": {"test_modifiers": modifiers}}))
    return path


@torch.no_grad()
@pytest.mark.parametrize("scheme", SCHEMES)
def test_transformers_reads_smollm2(tmp_path, scheme):
    out, dense = tmp_path / "out", tmp_path / "dense"
    # In bfloat16, because some formats of compressed-tensors compute in nothing else.
    spinor("quantize", SOURCE, out, "--recipe", recipe(scheme, tmp_path / "recipe.json"), "--dtype", "bfloat16",
           "--quiet")
    spinor("dequantize", out, dense, "--quiet")
    theirs = dequantized(out)
    for name, tensor in load_file(dense / "model.safetensors").items():
        assert torch.equal(theirs[name], tensor), name
    if scheme in WEIGHT_ONLY:
        packed, plain = (logits(load(path, torch.bfloat16), TOKENS) for path in (out, dense))
        assert torch.equal(packed, plain)


PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n",
    "<|im_start|>user\nWhat is a matrix?<|im_end|>\n<|im_start|>assistant\n",
    "Once upon a time, in a village by the sea,",
    "1, 2, 4, 8, 16,",
]
needs_torch = pytest.mark.skipif(not os.environ.get("SPINOR_LOGITS"), reason="spinor is built without libtorch")


def generated(prompt, *options):
    return spinor_json("generate", SOURCE, "--prompt", prompt, "--max-new-tokens", 64, *options)


@needs_torch
@torch.no_grad()
def test_smollm2_says_what_it_says_in_transformers():
    model = load(SOURCE, torch.float32)
    for prompt in PROMPTS:
        result = generated(prompt)
        start = torch.tensor([result["prompt_tokens"]])
        tokens = model.generate(start, do_sample=False, max_new_tokens=64)[0, start.shape[1] :]
        assert result["tokens"] == tokens.tolist(), prompt


@needs_torch
def test_smollm2_says_the_same_a_layer_at_a_time():
    assert generated(PROMPTS[0], "--memory", "200MB")["tokens"] == generated(PROMPTS[0])["tokens"]


def layer_inputs(layer, samples):
    """What the linears of a layer read in the model as it is, by name."""
    model, inputs = load(SOURCE, torch.float32), {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and f".layers.{layer}." in name:
            module.register_forward_hook(lambda m, x, y, name=name: inputs.setdefault(name, []).append(x[0][0]))
    for sample in samples:
        model.model(sample[None])
    return {name: torch.cat(rows).double() for name, rows in inputs.items()}


@needs_torch
@torch.no_grad()
def test_gptq_of_smollm2_is_nowhere_worse_than_the_nearest_codes(tmp_path):
    """On the text it has seen. Errors of the first layer, which no quantized layer is before, are computed here once
    more."""
    ids, out, nearest = tmp_path / "ids.json", tmp_path / "out", tmp_path / "nearest"
    tokens = spinor_json("tokenize", SOURCE, "--text", ROOT / "LICENSE")[: 8 * 128]
    ids.write_text(json.dumps(tokens))
    weights = {"num_bits": 4, "strategy": "channel", "observer": "mse"}
    group = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}, "ignore": ["lm_head"]}
    for modifier, directory in (("GPTQModifier", out), ("QuantizationModifier", nearest)):
        steps = tmp_path / f"{modifier}.json"
        steps.write_text(json.dumps({"test_stage": {"test_modifiers": {modifier: group}}}))
        calibration = ["--calibration", ids, "--calibration-samples", 8, "--calibration-context", 128]
        more = calibration if directory == out else []
        spinor("quantize", SOURCE, directory, "--recipe", steps, *more, "--quiet")
        spinor("dequantize", directory, tmp_path / f"{directory.name}-dense", "--quiet")
    modules = {module["module"]: module for module in json.loads((out / "calibration.json").read_text())["modules"]}
    assert len(modules) == 210
    for module in modules.values():
        assert module["quantized"] == "gptq" and module["error"] <= module["nearest_error"], module
    total = {key: sum(module[key] for module in modules.values()) for key in ("error", "nearest_error")}
    assert total["error"] < 0.7 * total["nearest_error"], total
    dense = {name: load_file(tmp_path / f"{name}-dense" / "model.safetensors") for name in ("out", "nearest")}
    original = load_file(SOURCE / "model.safetensors")
    for name, x in layer_inputs(0, torch.tensor(tokens).view(8, 128)).items():
        weight = original[f"{name}.weight"].double()
        for key, quantized in (("error", dense["out"]), ("nearest_error", dense["nearest"])):
            difference = quantized[f"{name}.weight"].double() - weight
            changed = (x @ difference.T).square().sum() / (x @ weight.T).square().sum()
            # Inputs and their products are sums in float32 on both sides.
            assert modules[name][key] == pytest.approx(changed.item(), rel=1e-3), (name, key)
