"""Data that decides scales alone, and recipes where only some weights take it."""

import json
import signal
import subprocess
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import tiny_models
from calibrated import (  # noqa: F401  source is a fixture
    CONTEXT, SAMPLES, calibration, experts, gptq, moe, recipe, rtn, source,
)
from command import BINARY, refused, run, spinor
from logits import TOKENS, difference, logits
from runtime_test import computed

IMATRIX = {"weight_observer": "imatrix_mse"}
STRICT = {"num_bits": 4, "strategy": "channel", "observer": "imatrix_mse", "observer_kwargs": {"strict": True}}


def modules_of(out):
    return {module["module"]: module for module in json.loads((out / "calibration.json").read_text())["modules"]}


def same_logits(out, tmp_path):
    theirs = logits(AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval(), TOKENS)
    return difference(theirs, computed(out, torch.float32, tmp_path, tokens=TOKENS))[0] <= 2e-5


def test_data_decides_scales_alone(source, tmp_path):
    steps = recipe(tmp_path, ("SpinQuantModifier", {"rotations": ["R1", "R2"]}), rtn("W4A16", **IMATRIX))
    out = tmp_path / "out"
    message = refused("quantize", source(), out, "--recipe", steps, "--quiet")
    assert "is quantized with calibration data, and there is none" in message
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    modules = modules_of(out)
    assert len(modules) == 14
    for module in modules.values():
        assert module["quantized"] == "imatrix" and module["tokens"] == SAMPLES * CONTEXT and module["rotated"]
        assert module["error"] is None and module["nearest_error"] is None and not module["warnings"]
    assert run("inspect", out).stdout.count(" imatrix\n") == 14
    assert same_logits(out, tmp_path)


def killed(command, source, out, *more, at_least):
    """Once the journal has so many lines; whether it was still running."""
    journal = out.with_name(out.name + ".partial") / "journal.jsonl"
    process = subprocess.Popen([str(BINARY), *map(str, [command, source, out, *more])])
    while process.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) < at_least):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("step", [experts(gptq("W4A16")), experts(rtn("W4A16"))], ids=["gptq", "imatrix"])
def test_experts_without_tokens_take_the_nearest_codes(tmp_path, step):
    """As one that knows no data: the search weighs all columns the same. Whatever the memory, and where a run was cut
    off."""
    source, whole, out = moe(tmp_path), tmp_path / "whole", tmp_path / "out"
    common = ["--recipe", recipe(tmp_path, step), *calibration(tmp_path), "--threads", "1"]
    stderr = run("quantize", source, whole, *common).stderr
    modules, lost = modules_of(whole), "model.layers.1.mlp.experts.3.down_proj"
    assert modules[lost]["tokens"] == 0 and modules[lost]["quantized"] == "nearest"
    nearest = "no calibration token reached it; its weights take the nearest codes"
    unweighed = "no calibration token reached it; in the search for its scales all inputs weigh the same"
    assert modules[lost]["warnings"] == ([nearest, unweighed] if step[0] == "GPTQModifier" else [unweighed])
    others = sum(module["tokens"] == 0 for module in modules.values()) - 1
    assert f"model.layers.0.mlp.experts.2.gate_proj and {others} more (see calibration.json): {unweighed}" in stderr
    assert modules[lost.replace("experts.3", "experts.0")]["tokens"] > 0
    spinor("quantize", source, tmp_path / "small", *common, "--calibration-memory", "50KB", "--quiet")
    for at_least in (20, len(load_file(whole / "model.safetensors")) - 3):
        killed("quantize", source, out, *common, "--quiet", at_least=at_least)
    if not out.exists():
        spinor("quantize", source, out, *common, "--quiet")
    for name in ("model.safetensors", "calibration.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
        assert (tmp_path / "small" / name).read_bytes() == (whole / name).read_bytes(), name


def test_strict_refuses_what_has_no_data(tmp_path):
    step = "QuantizationModifier", {"config_groups": {"g": {"targets": ["Linear"], "weights": STRICT}},
                                    "ignore": ["lm_head"]}
    message = refused(
        "quantize", moe(tmp_path), tmp_path / "out", "--recipe", recipe(tmp_path, step), *calibration(tmp_path),
        "--quiet"
    )
    assert "experts.2" in message and "no calibration token reached it, and its imatrix observer is strict" in message
    assert not (tmp_path / "out").exists()


def test_a_global_scale_is_shared_whoever_takes_data(source, tmp_path):
    """q is weighed by its inputs, k and v are not; they have one global scale, in whatever order they were observed."""
    nvfp4 = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16,
             "scale_dtype": "torch.float8_e4m3fn"}
    groups = {
        "q": {"targets": ["re:.*q_proj$"], "weights": {**nvfp4, "observer": "nvfp4_expanded_imatrix"}},
        "kv": {"targets": ["re:.*[kv]_proj$"], "weights": {**nvfp4, "observer": "mse"}},
    }
    steps, out = recipe(tmp_path, ("QuantizationModifier", {"config_groups": groups})), tmp_path / "out"
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    tensors, modules = load_file(out / "model.safetensors"), modules_of(out)
    for layer in range(2):
        names = [f"model.layers.{layer}.self_attn.{x}_proj" for x in "qkv"]
        scales = {tensors[f"{name}.weight_global_scale"].item() for name in names}
        assert len(scales) == 1
        assert [modules[name]["quantized"] for name in names] == ["imatrix", "nearest", "nearest"]
        assert not any(modules[name]["warnings"] for name in names)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """A vision tower that is deeper than the language model."""
    directory = tmp_path_factory.mktemp("tower") / "model"
    shape, sizes = next(iter(tiny_models.MORE_FAMILIES["qwen2_vl"][1].items()))
    vision = {**sizes["vision_config"], "depth": 4}
    return tiny_models.save(directory, "qwen2_vl", shape, torch.float32, vision_config=vision)


@pytest.mark.parametrize("step", [experts(gptq("W4A16")), experts(rtn("W4A16"))], ids=["gptq", "imatrix"])
def test_what_no_text_runs_through_takes_the_nearest_codes(tower, tmp_path, step):
    out = tmp_path / "out"
    done = run("quantize", tower, out, "--recipe", recipe(tmp_path, step), *calibration(tmp_path))
    assert done.returncode == 0, done.stderr
    packed = {name.removesuffix(".weight_packed") for name in load_file(out / "model.safetensors")
              if name.endswith("_packed")}
    modules = modules_of(out)
    assert set(modules) == packed
    for name, module in modules.items():
        assert ("visual" in name) == (module["tokens"] == 0) == bool(module["warnings"]), module
    assert any("visual.blocks.3" in name for name in modules) and any("visual.merger" in name for name in modules)
    others = sum(module["tokens"] == 0 for module in modules.values()) - 1
    assert f" and {others} more (see calibration.json): no calibration token reached it" in done.stderr


def test_what_no_text_runs_through_is_refused_before_the_work(tower, tmp_path):
    strict = {"config_groups": {"g": {"targets": ["Linear"], "weights": STRICT}}, "ignore": ["lm_head"]}
    static = {"scheme": "FP8", "targets": ["re:.*blocks.3.*"]}
    for arguments, reason in ((strict, "no text runs through it, and its imatrix"),
                              (static, "no calibration token reached it")):
        steps = recipe(tmp_path, ("QuantizationModifier", arguments))
        message = refused("quantize", tower, tmp_path / reason, "--recipe", steps,
                          *calibration(tmp_path))  # one line alone
        assert "visual.blocks." in message and reason in message


def test_modifiers_share_a_model(source, tmp_path):
    """GPTQ for the MLP, imatrix scales for q, k and v, nothing that needs data for o: one config, one pass through each
    layer."""
    targets = {"ignore": [], "targets": ["re:.*mlp.*_proj$"]}
    steps = recipe(
        tmp_path,
        ("GPTQModifier", {**gptq("W4A16")[1], **targets}),
        rtn("W8A16", ignore=[], targets=["re:.*[qkv]_proj$"], **IMATRIX),
        rtn("W8A8", ignore=[], targets=["re:.*o_proj$"]),
    )
    out = tmp_path / "out"
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    kinds = {name.split(".", 3)[-1]: module["quantized"] for name, module in modules_of(out).items()}
    attention = {f"self_attn.{x}_proj": "imatrix" for x in "qkv"}
    assert kinds == {**attention, **{f"mlp.{x}_proj": "gptq" for x in ("gate", "up", "down")}}
    assert len(json.loads((out / "config.json").read_text())["quantization_config"]["config_groups"]) == 3
    assert same_logits(out, tmp_path)


def choices(directory, ids, layer=0):
    """(tokens, experts): what the router of a layer chooses by, without its bias; and what it chooses."""
    model, seen = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval(), []
    gate = model.model.layers[layer].mlp.gate
    gate.register_forward_hook(lambda module, args, output: seen.append((output[0].sigmoid(), output[2])))
    with torch.no_grad():
        model(ids)
    return seen[0][0], seen[0][1].flatten()


def test_a_resumed_run_runs_layers_as_they_ran(tmp_path):
    """No token reaches the last expert until attention before it is quantized: it then runs with its weights as they
    are."""
    source, whole, out, dense = (tmp_path / name for name in ("source", "whole", "out", "dense"))
    shape = {"num_hidden_layers": 2, "first_k_dense_replace": 0, "num_experts_per_tok": 1}
    tiny_models.save(source, "glm4_moe", "biased", torch.float32, **shape)
    tensors, bias = load_file(source / "model.safetensors"), "model.layers.0.mlp.gate.e_score_correction_bias"
    tokens = torch.randint(3, 72, (SAMPLES * CONTEXT,), generator=torch.Generator().manual_seed(5))
    scores, _ = choices(source, tokens.view(SAMPLES, CONTEXT))
    tensors[bias].zero_()
    tensors[bias][-1] = (scores[:, :-1].amax(1) - scores[:, -1]).min() - 1e-5
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    common = ["--recipe", recipe(tmp_path, experts(gptq("W4A16"))), *calibration(tmp_path, tokens.tolist())]
    common += ["--threads", "1", "--quiet"]
    spinor("quantize", source, whole, *common)
    last = scores.shape[1] - 1
    assert modules_of(whole)[f"model.layers.0.mlp.experts.{last}.up_proj"]["tokens"] == 0
    spinor("dequantize", whole, dense, "--quiet")
    assert (choices(dense, tokens.view(SAMPLES, CONTEXT))[1] == last).any()
    done = 3 * sum(name.startswith("model.layers.0.") for name in modules_of(whole))  # codes, scales, shapes
    assert killed("quantize", source, out, *common, at_least=done + 3)
    spinor("quantize", source, out, *common)
    for name in ("model.safetensors", "calibration.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
