"""GPTQ: llm-compressor's codes, transformers' logits, and what is refused. Static scales have a page of their own."""

import json
import math
import signal
import subprocess
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

import tiny_models
from calibrated import CONTEXT, SAMPLES, calibration, gptq, recipe, source, tokens_file  # noqa: F401  a fixture
from command import BINARY, ROOT, refused, run, spinor, spinor_json
from logits import TOKENS, difference, logits
from quantize_client_test import dequantized
from runtime_test import computed
from spoken_model import speak

GOLDEN = sorted((ROOT / "tests" / "golden").glob("gptq_model_*.safetensors"))


def cases():
    for path in GOLDEN:
        with safe_open(path, "pt") as file:
            for name in sorted(set(file.metadata()) - {"config.json", "format"}):
                yield pytest.param(path, name, id=f"{path.stem.removeprefix('gptq_model_')}-{name}")


@pytest.mark.parametrize("path, name", list(cases()))
def test_codes_are_llm_compressors(tmp_path, path, name):
    """The same scales, and nearly all codes. Here activations are float32 and the peer's have the model's type, so that
    the Hessians of bfloat16 differ in the third digit; those of float32 by sums in another order, which finer codes see
    more. On one and the same Hessian spinor/quant/gptq_test.cpp asks for 99.5 %. Where imatrix scales meet GPTQ, a row
    of layer 0 keeps its nearest codes, as they are better, and layer 1 sees other inputs; scales of inputs are then not
    all the same."""
    share, same_scales = codes_and_scales_expected(path.stem.removeprefix("gptq_model_"), name)
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text(metadata["config.json"])
    parts = {key.removeprefix("source/"): value for key, value in tensors.items() if key.startswith("source/")}
    save_file(parts, source / "model.safetensors", metadata={"format": "pt"})
    steps = tmp_path / "recipe.json"
    theirs = json.loads(metadata[name])
    (arguments,) = theirs["quant_stage"]["quant_modifiers"].values()
    arguments["compat"] = "llm-compressor"
    steps.write_text(json.dumps(theirs))
    out = tmp_path / "out"
    ids = tokens_file(tmp_path, tensors["tokens"].flatten().tolist())
    spinor(
        *("quantize", source, out, "--recipe", steps, "--calibration", ids, "--quiet"),
        *("--calibration-samples", SAMPLES, "--calibration-context", CONTEXT),
    )
    ours = load_file(out / "model.safetensors")
    expected = {key.removeprefix(name + "/"): value for key, value in tensors.items() if key.startswith(name + "/")}
    assert expected and set(expected) <= set(ours)
    for key, value in expected.items():
        assert ours[key].dtype == value.dtype and ours[key].shape == value.shape, key
        if key.endswith(("_packed", ".weight")):
            assert equal_codes(ours[key], value) >= share, key
        elif key.endswith("input_scale"):
            assert torch.allclose(ours[key].float(), value.float(), rtol=0.01), key
        else:
            a, b = (t.float() if t.is_floating_point() else t for t in (ours[key], value))  # e4m3 has no ==
            assert (a == b).float().mean() >= same_scales, key


def codes_and_scales_expected(dtype, name):
    if name.endswith("imatrix_nearest"):
        return (1, 1) if dtype == "float32" else (0.99, 0.98)
    if name.endswith("imatrix"):
        return (0.95, 0.99) if dtype == "float32" else (0.85, 0.98)
    return 0.85 if dtype == "bfloat16" else 0.995 if name.startswith("W4") else 0.98, 1


def equal_codes(ours, theirs):
    """Of packed 4-bit codes, or of one code a byte."""
    a, b = (t.contiguous().view(torch.uint8) for t in (ours, theirs))
    if ours.dtype == torch.int32:
        a, b = (torch.stack([t & 15, t >> 4]) for t in (a, b))
    return (a == b).float().mean().item()


SCHEMES = ["W4A16", "W4A16_ASYM", "W8A8", "W3A16", "W4A8", "FP8_DYNAMIC", "FP8_BLOCK", "NVFP4A16", "MXFP4A16",
           "MXFP8A16"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_transformers_reads_the_weights_that_spinor_reads(source, tmp_path, scheme):
    out, dense = tmp_path / "out", tmp_path / "dense"
    steps = recipe(tmp_path, ("SpinQuantModifier", {"rotations": ["R1", "R2"]}), gptq(scheme))
    model = source("llama", torch.bfloat16)
    spinor("quantize", model, out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    spinor("dequantize", out, dense, "--quiet")
    theirs, ours = dequantized(out), load_file(dense / "model.safetensors")
    for name, tensor in ours.items():
        assert torch.equal(theirs[name], tensor), name


@pytest.mark.parametrize("scheme", ["W4A16", "W4A16_ASYM", "W3A16", "W8A8"])
def test_gptq_changes_outputs_less_than_the_nearest_codes(source, tmp_path, scheme):
    out = tmp_path / "out"
    steps = recipe(tmp_path, ("SpinQuantModifier", {"rotations": ["R1", "R2", "R4"]}), gptq(scheme))
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    modules = json.loads((out / "calibration.json").read_text())["modules"]
    assert len(modules) == 14
    for module in modules:
        assert 0 < module["error"] <= module["nearest_error"], module
        assert module["quantized"] == "gptq" and module["tokens"] == SAMPLES * CONTEXT and module["rotated"]
    assert sum(m["error"] for m in modules) < 0.9 * sum(m["nearest_error"] for m in modules)
    assert spinor_json("inspect", out)["calibration"]["modules"] == modules


def test_the_runtime_runs_what_transformers_runs(source, tmp_path):
    out = tmp_path / "out"
    steps = recipe(tmp_path, ("SpinQuantModifier", {"rotations": ["R1", "R2"]}), gptq("W4A16"))
    spinor("quantize", source(), out, "--recipe", steps, *calibration(tmp_path), "--quiet")
    theirs = logits(AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval(), TOKENS)
    assert difference(theirs, computed(out, torch.float32, tmp_path, tokens=TOKENS))[0] <= 2e-5


IMATRIX = "QuantizationModifier", {**gptq("W4A16")[1], "weight_observer": "imatrix_mse"}
CHANNELS = {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "strategy": "channel"}}}
KILLED = {
    "gptq": ("llama", gptq("W4A16")),
    "imatrix": ("llama", IMATRIX),
    "mixtral": ("mixtral", ("GPTQModifier", {"config_groups": CHANNELS, "ignore": ["lm_head"]})),
}


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(source, tmp_path, name):
    """Mixtral's w1 and w3 read the same, and w2 stands between them: they are not quantized in the order of their
    names."""
    family, step = KILLED[name]
    model = source() if family == "llama" else tmp_path / "model"
    if family != "llama":
        tiny_models.save(model, family, next(iter(tiny_models.MORE_FAMILIES[family][1])), torch.float32)
    steps = recipe(tmp_path, ("SpinQuantModifier", {"rotations": ["R1"]}), step)
    whole, out = tmp_path / "whole", tmp_path / "out"
    common = ["--recipe", steps, *calibration(tmp_path), "--threads", "1", "--quiet"]
    spinor("quantize", model, whole, *common)
    command = [str(BINARY), *map(str, ["quantize", model, out, *common])]
    journal, kept = tmp_path / "out.partial" / "journal.jsonl", set()
    for at_least in (0, 3, 9, 20):
        process = subprocess.Popen(command)
        while process.poll() is None and lines(journal) < at_least:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept.add(lines(journal))
    assert len(kept) > 1
    message = refused("quantize", model, out, *common, "--calibration-seed", "1")
    assert "was left by another job: record.calibration.tokens" in message
    spinor("quantize", model, out, *common)
    for name in ("model.safetensors", "config.json", "calibration.json", "recipe.yaml"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_hessians_that_do_not_fit_take_several_passes(source, tmp_path):
    """The same bytes: a layer's weights change when all of its Hessians are done."""
    model = tmp_path / "moe"
    tiny_models.save(model, "qwen3_moe", next(iter(tiny_models.MORE_FAMILIES["qwen3_moe"][1])), torch.float32)
    groups = {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "strategy": "channel"}}}
    nvfp4 = ("GPTQModifier", {"targets": "Linear", "ignore": ["lm_head"], "scheme": "NVFP4"})
    for i, (directory, step) in enumerate([(model, ("GPTQModifier", {"config_groups": groups})), (source(), nvfp4)]):
        common = ["quantize", directory]
        more = ["--recipe", recipe(tmp_path, step), *calibration(tmp_path), "--threads", "1", "--quiet"]
        spinor(*common, tmp_path / f"one{i}", *more)
        spinor(*common, tmp_path / f"several{i}", *more, "--calibration-memory", "100KB")
        for name in ("model.safetensors", "calibration.json"):
            assert (tmp_path / f"one{i}" / name).read_bytes() == (tmp_path / f"several{i}" / name).read_bytes()


def lines(journal):
    return len(journal.read_bytes().splitlines()) if journal.exists() else 0


def test_without_data_it_is_refused(source, tmp_path):
    steps = recipe(tmp_path, gptq("W4A16"))
    message = refused("quantize", source(), tmp_path / "out", "--recipe", steps, "--quiet")
    assert "is quantized with calibration data, and there is none; give --calibration FILE" in message
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()
    message = refused("eval", source(), "--recipe", steps, "--token-ids", tokens_file(tmp_path))
    assert "write the model with spinor quantize --calibration" in message


def bad_text(tmp_path):
    empty, tiny, binary, bad = (tmp_path / name for name in ("empty.txt", "tiny.json", "binary.json", "large.json"))
    empty.write_text("")
    tiny.write_text(json.dumps([1, 2, 3]))
    binary.write_bytes(b"[1, \xff\xfe]")
    bad.write_text(json.dumps([3, 72_000] * 500))
    return {empty: "tokenizer.json", tiny: "has 3 tokens, and a sample takes 32", binary: "binary.json",
            bad: "vocabulary's size 72"}


@pytest.mark.parametrize("which", range(4))
def test_bad_text_is_refused_and_nothing_is_written(source, tmp_path, which):
    path, reason = list(bad_text(tmp_path).items())[which]
    steps = recipe(tmp_path, gptq("W4A16"))
    message = refused(
        *("quantize", source(), tmp_path / "out", "--recipe", steps, "--calibration", path, "--quiet"),
        *("--calibration-context", CONTEXT),
    )
    assert reason in message and not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    directory = tmp_path_factory.mktemp("spoken") / "model"
    return speak(tiny_models.save(directory, "llama", "quantizable", torch.float32, vocab_size=400))


def test_samples_are_drawn_from_all_text_of_a_directory(spoken, tmp_path):
    """In the order of the names of its files, which is what one file of all of them gives."""
    texts = tmp_path / "texts"
    texts.mkdir()
    parts = {"a.txt": "One day the miller said to his son. ", "b.jsonl": "Über die Brücke gehen. ",
             "c.md": "# The dog\n"}
    tokens = []
    for name, text in parts.items():
        (texts / name).write_text(json.dumps({"text": text * 40}) if name.endswith("jsonl") else text * 40)
        (tmp_path / "plain.txt").write_text(text * 40)
        tokens += spinor_json("tokenize", spoken, "--text", tmp_path / "plain.txt")
    (texts / "d.csv").write_bytes(b"\xff not read")
    (tmp_path / "all.json").write_text(json.dumps(tokens))
    steps = recipe(tmp_path, gptq("W4A16"))
    more = ["--recipe", steps, "--calibration-context", 16, "--calibration-samples", 8, "--threads", 1, "--quiet"]
    for name, text in (("from-texts", texts), ("from-tokens", tmp_path / "all.json")):
        spinor("quantize", spoken, tmp_path / name, "--calibration", text, *more)
    spinor("quantize", spoken, tmp_path / "with-bos", "--calibration", texts, "--calibration-bos", *more)
    made = {name: (tmp_path / name / "model.safetensors").read_bytes()
            for name in ("from-texts", "from-tokens", "with-bos")}
    assert made["from-texts"] == made["from-tokens"] != made["with-bos"]


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])
def test_the_number_of_threads_does_not_change_a_byte(source, tmp_path, family):
    """Of codes, scales, ranges and the report; samples that are no whole number of chunks, experts with few tokens."""
    if family == "llama":
        model = source(family)
    else:
        case = next(iter(tiny_models.MORE_FAMILIES[family][1]))
        model = tiny_models.save(tmp_path / "moe", family, case, torch.float32)
    steps = recipe(
        tmp_path,
        gptq("W8A8" if family == "llama" else "FP8", ignore=[], actorder="static" if family == "llama" else None),
    )
    made = []
    for threads in (1, 2, 3):
        out = tmp_path / f"out-{threads}"
        spinor("quantize", model, out, "--recipe", steps, *calibration(tmp_path)[:2], "--calibration-samples", 14,
               "--calibration-context", CONTEXT, "--threads", threads, "--quiet")
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"abc\xff\xfe" * 100, "UTF-8"),
        (b"", "has 0 tokens, and a sample takes 32"),
        (b"short", "tokens, and a sample takes 32; use a longer text"),
    ],
)
def test_a_text_file_that_will_not_do_is_refused(spoken, tmp_path, content, reason):
    text = tmp_path / "text.txt"
    text.write_bytes(content)
    steps = recipe(tmp_path, gptq("W4A16"))
    message = refused(
        *("quantize", spoken, tmp_path / "out", "--recipe", steps, "--calibration", text, "--quiet"),
        *("--calibration-context", CONTEXT),
    )
    assert reason in message and not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()


def test_inputs_that_are_not_finite_name_the_module(source, tmp_path):
    tensors = load_file(source() / "model.safetensors")
    tensors["model.layers.0.input_layernorm.weight"] = torch.full_like(tensors["model.layers.0.input_layernorm.weight"],
                                                                       3e38)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_bytes((source() / "config.json").read_bytes())
    save_file(tensors, damaged / "model.safetensors", metadata={"format": "pt"})
    steps = recipe(tmp_path, gptq("W4A16"))
    message = refused("quantize", damaged, tmp_path / "out", "--recipe", steps, *calibration(tmp_path), "--quiet")
    assert message.startswith("model.layers.0.self_attn.") and "not finite on the calibration text" in message


ARGUMENTS = {
    "group": ({"actorder": "group"}, "actorder"),
    "conflict": (
        {
            "scheme": None,
            "actorder": None,
            "config_groups": {
                "g": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 64, "actorder": "static"}}
            },
        },
        "actorder and that of a group",
    ),
    "block": ({"block_size": 0}, "block_size is not positive"),
    "dampening": ({"dampening_frac": -1}, "dampening_frac"),
    "removed": ({"sequential_update": False}, "sequential_update"),
    "dense": ({"format": "dense"}, "format: dense"),
    "dense and kv": (
        {"format": None, "scheme": "W8A8", "kv_cache_scheme": {"num_bits": 8, "strategy": "group", "group_size": 8}},
        "static scales are per tensor",
    ),
    "batched": ({"batched_quantization": 0}, "batched_quantization"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_make_no_sense_are_refused(source, tmp_path, name):
    more, reason = ARGUMENTS[name]
    arguments = {key: value for key, value in {**gptq("W4A16")[1], **more}.items()
                 if value is not None or key == "actorder"}
    if "config_groups" in arguments:
        arguments.pop("targets")
    steps = recipe(tmp_path, ("GPTQModifier", arguments))
    assert reason in refused("plan", source(), "--recipe", steps)


def test_inputs_that_are_always_zero_lose_their_weights(source, tmp_path):
    tensors = load_file(source() / "model.safetensors")
    tensors["model.layers.0.input_layernorm.weight"][3] = 0
    changed, out = tmp_path / "changed", tmp_path / "out"
    changed.mkdir()
    (changed / "config.json").write_bytes((source() / "config.json").read_bytes())
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    steps = recipe(tmp_path, gptq("W4A16"))
    done = run("quantize", changed, out, "--recipe", steps, *calibration(tmp_path))
    assert "self_attn.q_proj and 2 more (see calibration.json): 1 of its inputs are always 0" in done.stderr
    modules = {m["module"]: m for m in json.loads((out / "calibration.json").read_text())["modules"]}
    spinor("dequantize", out, tmp_path / "dense", "--quiet")
    dense = load_file(tmp_path / "dense" / "model.safetensors")
    for name in ("q_proj", "k_proj", "v_proj"):
        module = modules[f"model.layers.0.self_attn.{name}"]
        assert module["dead_columns"] == 1 and module["error"] < module["nearest_error"]
        column = dense[f"{module['module']}.weight"][:, 3]
        assert (column == 0).float().mean() == 1 - module["nearest_rows"] / len(column)


KINDS = ["qwen3_moe", "deepseek_v3", "gpt_oss", "granitemoe", "qwen3_next", "phi3", "opt", "gemma3_vl"]


@pytest.mark.parametrize("family", KINDS)
def test_every_kind_of_layer_is_calibrated(tmp_path, family):
    """Experts, one by one or stacked, latent attention, the delta rule, fused linears, the head."""
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, next(iter(tiny_models.MORE_FAMILIES[family][1])), torch.float32)
    groups = {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "strategy": "channel"}}}
    steps = recipe(tmp_path, ("GPTQModifier", {"config_groups": groups, "ignore": "re:.*vision_tower.*"}))
    done = run("quantize", source, out, "--recipe", steps, *calibration(tmp_path))
    assert done.returncode == 0, done.stderr
    modules = json.loads((out / "calibration.json").read_text())["modules"]
    assert any(module["module"].endswith("head") and module["tokens"] > 0 for module in modules)
    for module in modules:
        assert module["tokens"] == 0 or module["error"] <= module["nearest_error"], module
        if module["tokens"] < module["inputs"]:
            assert "calibration token" in module["warnings"][0] and module["warnings"][0] in done.stderr
    assert ("stacks experts" in done.stderr) == (family in KINDS[:5])
    tensors = load_file(out / "model.safetensors")
    packed = {name[:-14] for name in tensors if name.endswith(".weight_packed")}
    assert packed == {module["module"] for module in modules}
    ids = tokens_file(tmp_path)
    result = spinor_json("eval", out, "--token-ids", ids, "--context", CONTEXT, "--reference", source)
    assert 0 < result["kl_divergence"] < 0.5


RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_example_recipe_writes_what_spinor_and_transformers_load(source, tmp_path, path):
    """Tokens enough for those that learn."""
    out, long = tmp_path / "out", torch.randint(3, 72, (2 * 512,), generator=torch.Generator().manual_seed(5)).tolist()
    spinor("quantize", source("llama", torch.bfloat16), out, "--recipe", path, *calibration(tmp_path, long), "--quiet")
    assert ("learning" in json.loads((out / "spinor.json").read_text())) == ("learned" in path.stem)
    ids = tokens_file(tmp_path)
    assert math.isfinite(spinor_json("eval", out, "--token-ids", ids, "--context", CONTEXT)["perplexity"])
    theirs, report = AutoModelForCausalLM.from_pretrained(
        out, quantization_config=CompressedTensorsConfig(dequantize=True), output_loading_info=True
    )
    assert not report["missing_keys"] and not report["mismatched_keys"], report
    assert torch.isfinite(logits(theirs, TOKENS)).all()
