"""`eval` computes what transformers computes, and in low bits what the dense reference computes."""

import itertools
import json
import math

import pytest
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle import fake_quantize
from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp
from safetensors.torch import load_file, save_file

import tiny_models
from command import refused, spinor, spinor_json
from logits import load, logits
from quantize_client_test import SHAPES  # noqa: F401  adds the shape "quantizable"
from reference_model import Quantizer, Reference
from runtime_test import computed
from spoken_model import speak

TEXT = torch.randint(3, 72, (150,), generator=torch.Generator().manual_seed(5)).tolist()
ALL = ["--rotations", "R1,R2,R3,R4", "--transform-type", "random-hadamard"]


def evaluated(tmp_path, model, *options, text=TEXT):
    ids = tmp_path / "tokens.json"
    ids.write_text(json.dumps(text))
    return spinor_json("eval", model, "--token-ids", ids, "--threads", 1, *options)


def windows(context, stride=0, bos=None, samples=None, text=TEXT):
    """(tokens, how many of the last are scored): whole windows, every token once, of each but the first tokens that
    nothing precedes."""
    lead = [] if bos is None else [bos]
    length, done = context - len(lead), 0
    found = []
    for begin in range(0, len(text) - length + 1, stride or length):
        end = begin + length
        found.append((torch.tensor(lead + text[begin:end]), end - max(done, begin + 1 - len(lead))))
        done = end
    return found[:samples]


def scored(of, cut):
    """Logits that predict, and what they should have predicted, over all windows."""
    pairs = [(of(tokens[None])[0, -count - 1 : -1].double(), tokens[-count:]) for tokens, count in cut]
    return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])


def perplexity(predicted, targets):
    return torch.nn.functional.cross_entropy(predicted, targets).exp().item()


def of_transformers(directory, dtype):
    model = load(directory, dtype)
    return lambda tokens: logits(model, tokens)


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_perplexity_is_that_of_transformers(tiny, tmp_path, family):
    source, _ = tiny(family, "three_heads", torch.float32)
    cut = windows(32)
    predicted, targets = scored(of_transformers(source, torch.float32), cut)
    result = evaluated(tmp_path, source, "--context", 32)
    assert (result["tokens"], result["windows"]) == (len(targets), len(cut))
    assert result["perplexity"] == pytest.approx(perplexity(predicted, targets), rel=2e-6)


WINDOWS = {
    "one": {"context": 2048},
    "strides": {"context": 32, "stride": 10},
    "stride of one": {"context": 140, "stride": 1},
    "samples": {"context": 16, "samples": 3},
    "bos": {"context": 24, "bos": 1},
    "bos and strides": {"context": 24, "bos": 1, "stride": 7, "samples": 5},
}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A tiny model with a tokenizer, whose bos token is 1."""
    directory = tmp_path_factory.mktemp("spoken")
    tiny_models.save(directory, "llama", "power_of_two", torch.float64, vocab_size=400)
    return speak(directory)


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_cut_as_asked(spoken, tmp_path, name):
    options = WINDOWS[name]
    cut = windows(**options) if len(TEXT) >= options["context"] else windows(len(TEXT))
    predicted, targets = scored(of_transformers(spoken, torch.float64), cut)
    flags = [word for key, value in options.items() for word in ([f"--{key}"] if key == "bos" else [f"--{key}", value])]
    result = evaluated(tmp_path, spoken, "--dtype", "float64", *flags)
    assert (result["tokens"], result["windows"]) == (len(targets), len(cut))
    # Angles of RoPE are float32 on both sides.
    assert result["perplexity"] == pytest.approx(perplexity(predicted, targets), rel=1e-9)


def test_figures_against_a_reference(tiny, tmp_path):
    source, _ = tiny("qwen3", "wide_heads", torch.float64)
    other = tmp_path / "other"
    model, generator = tiny_models.make("qwen3", "wide_heads"), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    model.save_pretrained(other)
    cut = windows(32, stride=16)
    expected, targets = scored(of_transformers(source, torch.float64), cut)
    given, _ = scored(of_transformers(other, torch.float64), cut)
    divergence = torch.nn.functional.kl_div(
        given.log_softmax(-1), expected.log_softmax(-1), reduction="batchmean", log_target=True
    )
    deviation = expected.var(-1, correction=0).mean().sqrt()
    figures = {
        "perplexity": perplexity(given, targets),
        "reference_perplexity": perplexity(expected, targets),
        "kl_divergence": divergence.item(),
        "top1_agreement": (given.argmax(-1) == expected.argmax(-1)).double().mean().item(),
        "logits_rms": ((given - expected).square().mean().sqrt() / deviation).item(),
        "logits_max": ((given - expected).abs().max() / deviation).item(),
    }
    assert figures["kl_divergence"] > 1e-4 and figures["top1_agreement"] < 1
    windowed = ["--context", 32, "--stride", 16, "--dtype", "float64"]
    result = evaluated(tmp_path, other, "--reference", source, *windowed)
    for name, value in figures.items():
        assert result[name] == pytest.approx(value, rel=1e-8), name
    itself = evaluated(tmp_path, source, "--reference", source, *windowed)
    assert (itself["kl_divergence"], itself["logits_max"], itself["top1_agreement"]) == (0, 0, 1)


def in_float32(quantize):
    """Codes are found in float32 whatever a model computes in."""
    return lambda x: quantize(x.float()).double()


# Options of low bits, and the same for the reference.
LOW_BITS = {
    "A8": (["--activations", 8], {"activations": Quantizer(8, symmetric=False)}),
    "A4, clipped, and KV4, clipped": (
        ["--activations", 4, "--activations-clip", 0.9, "--kv", 4, "--kv-clip", 0.95],
        {
            "activations": Quantizer(4, symmetric=False, clip=0.9),
            "keys": Quantizer(4, symmetric=False, clip=0.95),
            "values": Quantizer(4, symmetric=False, clip=0.95),
        },
    ),
    "A6 and KV3, symmetric": (
        ["--activations", 6, "--activations-symmetric", "--kv", 3, "--kv-symmetric"],
        {"activations": Quantizer(6), "keys": Quantizer(3), "values": Quantizer(3)},
    ),
}


def of_reference(directory, **quantizers):
    quantizers = {name: in_float32(quantizer) for name, quantizer in quantizers.items()}
    return Reference(directory, torch.float64, **quantizers).logits


@pytest.fixture(scope="module")
def rotated(tmp_path_factory, tiny):
    """A model and the same with R1 to R4 in float64, of which R3 and R4 act online."""
    made = {}

    def get(family):
        if family not in made:
            source, _ = tiny(family, "power_of_two", torch.float64)
            out = tmp_path_factory.mktemp(family) / "rotated"
            spinor("rotate", source, out, *ALL, "--quiet")
            made[family] = source, out
        return made[family]

    return get


@pytest.mark.parametrize("name", LOW_BITS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "granite", "smollm3"])
def test_low_bits_are_those_of_the_reference(rotated, tmp_path, family, name):
    options, quantizers = LOW_BITS[name]
    options = [*options, "--context", 50, "--dtype", "float64"]
    found = []
    for model in rotated(family):
        predicted, targets = scored(of_reference(model, **quantizers), windows(50))
        found.append(evaluated(tmp_path, model, *options)["perplexity"])
        # In float64 hardly a value falls to the other side of a tie, and one that does shows in the fifth digit.
        assert found[-1] == pytest.approx(perplexity(predicted, targets), rel=1e-6)
    assert abs(math.log(found[0] / found[1])) > 1e-4  # rotated, other values are rounded


def declared_activations(directory):
    """What the checkpoint's config.json says, by compressed-tensors itself."""
    (group,) = json.loads((directory / "config.json").read_text())["quantization_config"]["config_groups"].values()
    if group["input_activations"] is None:
        return None
    args = QuantizationArgs(**group["input_activations"])

    def quantize(x):
        rows = x.flatten(0, -2)[None]  # sequences, tokens, features: what it takes for tokens
        scale, zero = compute_dynamic_scales_and_zp(rows, args, torch.nn.Module())
        return fake_quantize(rows, scale, zero, args).reshape(x.shape)

    return quantize


@pytest.fixture(scope="module")
def quantizable(tmp_path_factory):
    directory = tmp_path_factory.mktemp("quantizable") / "model"
    return tiny_models.save(directory, "llama", "quantizable", torch.float32, tie_word_embeddings=False)


SCHEMES = {
    **{scheme: (scheme, ["--rotations", "R1,R2"]) for scheme in ("W8A8", "W4A8", "FP8_DYNAMIC", "MXFP4", "MXFP8")},
    "W8A8, R1 to R4": ("W8A8", ALL),
    "W4A16, R1 to R4": ("W4A16", ALL),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_what_is_written_is_what_is_evaluated(quantizable, tmp_path, name):
    scheme, rotations = SCHEMES[name]
    out, dense = tmp_path / "out", tmp_path / "dense"
    spinor("quantize", quantizable, out, "--scheme", scheme, *rotations, "--quiet")
    options = ["--context", 50, "--samples", 1]
    stored = evaluated(tmp_path, out, *options)["perplexity"]
    assert stored == evaluated(tmp_path, quantizable, "--scheme", scheme, *rotations, *options)["perplexity"]

    # Numbers of float codes, which the reference does not read, are the dense model's.
    if rotations != ALL:
        spinor("dequantize", out, dense, "--quiet")
    model = dense if dense.exists() else out
    activations = declared_activations(out)
    tokens = torch.tensor(TEXT[:50])
    expected = of_reference(model, **({"activations": activations} if activations else {}))(tokens)
    mine = computed(out, torch.float64, tmp_path, tokens=tokens[None])[0]
    # Codes are found in float32, of numbers that agree to 1e-15: the same but for a tie in a hundred million.
    assert (mine - expected).square().mean().sqrt() <= 1e-9 * expected.std()
    predicted, targets = scored(lambda tokens: expected[None], windows(50, samples=1))
    assert stored == pytest.approx(perplexity(predicted, targets), rel=5e-3)  # in float32 some codes are others
    if activations:
        plain = of_reference(model)(tokens)
        assert (plain - expected).square().mean().sqrt() > 5e-3 * expected.std()  # they do something


@pytest.mark.parametrize("scheme", ["W8A8", "W4A16"])
def test_low_bits_take_the_place_of_what_is_declared(quantizable, tmp_path, scheme):
    out = tmp_path / "out"
    spinor("quantize", quantizable, out, "--scheme", scheme, *ALL, "--quiet")
    options = ["--context", 50, "--activations", 8, "--dtype", "float64"]
    predicted, targets = scored(of_reference(out, activations=Quantizer(8, symmetric=False)), windows(50))
    expected = pytest.approx(perplexity(predicted, targets), rel=1e-5)
    assert evaluated(tmp_path, out, *options)["perplexity"] == expected
    assert evaluated(tmp_path, quantizable, "--scheme", scheme, *ALL, *options)["perplexity"] == expected


def test_a_static_scale_is_read(quantizable, tmp_path):
    out = tmp_path / "out"
    spinor("quantize", quantizable, out, "--scheme", "W8A8", "--quiet")
    tensors = load_file(out / "model.safetensors")
    for name in [name for name in tensors if name.endswith("weight_scale")]:
        tensors[name.replace("weight_scale", "input_scale")] = torch.tensor([0.05])
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    config = json.loads((out / "config.json").read_text())
    (group,) = config["quantization_config"]["config_groups"].values()
    group["input_activations"] |= {"strategy": "tensor", "dynamic": False}
    (out / "config.json").write_text(json.dumps(config))
    static = of_reference(out, activations=lambda x: (x / 0.05).round().clamp(-128, 127) * 0.05)
    predicted, targets = scored(static, windows(50))
    result = evaluated(tmp_path, out, "--context", 50, "--dtype", "float64")
    assert result["perplexity"] == pytest.approx(perplexity(predicted, targets), rel=1e-4)
    del tensors["model.layers.1.mlp.up_proj.input_scale"]
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    ids = tmp_path / "tokens.json"
    assert refused("eval", out, "--token-ids", ids) == (
        "model.layers.1.mlp.up_proj: input activations: have no static scale; the checkpoint is incomplete"
    )


def test_a_static_scale_of_the_cache_is_read(quantizable, tmp_path):
    out = tmp_path / "out"
    spinor("quantize", quantizable, out, "--scheme", "W8A16", "--quiet")
    tensors = load_file(out / "model.safetensors")
    for layer in range(2):
        for name in ("k_scale", "v_scale"):
            tensors[f"model.layers.{layer}.self_attn.{name}"] = torch.tensor([0.03])
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    config = json.loads((out / "config.json").read_text())
    scheme = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "tensor", "dynamic": False}
    config["quantization_config"]["kv_cache_scheme"] = scheme
    (out / "config.json").write_text(json.dumps(config))

    def fp8(x):
        return (x / 0.03).clamp(-448, 448).to(torch.float8_e4m3fn).float() * 0.03

    predicted, targets = scored(of_reference(out, keys=fp8, values=fp8), windows(50))
    result = evaluated(tmp_path, out, "--context", 50, "--dtype", "float64")
    assert result["perplexity"] == pytest.approx(perplexity(predicted, targets), rel=1e-5)
    plain = evaluated(tmp_path, quantizable, "--scheme", "W8A16", "--context", 50, "--dtype", "float64")
    assert abs(math.log(result["perplexity"] / plain["perplexity"])) > 1e-4


def test_text_is_what_its_tokens_are(spoken, tmp_path):
    text = "One, two, three.\n\nÜber die Brücke — über alles."
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    rows = [{"text": "One, two, three."}, {"id": 3, "text": "Über die Brücke — über alles."}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    expected = evaluated(tmp_path, spoken, text=spinor_json("tokenize", spoken, "--text", tmp_path / "text.txt"))
    for name in ("text.txt", "rows.jsonl"):
        result = spinor_json("eval", spoken, "--text", tmp_path / name, "--threads", 1)
        assert {**result, "seconds": 0} == {**expected, "seconds": 0}, name


def test_says_what_is_wrong(tiny, spoken, tmp_path):
    mute, _ = tiny("llama", "power_of_two", torch.float32)
    count = itertools.count()

    def message(model, content, *options, suffix="json"):
        path = tmp_path / f"{next(count)}.{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        flag = "--token-ids" if suffix == "json" else "--text"
        return refused("eval", model, flag, path, *options).replace(f"{path}", "FILE")

    assert message(mute, "[5]") == "text: has 1 tokens: there is nothing to predict"
    assert message(mute, "[]") == "text: has 0 tokens: there is nothing to predict"
    outside = "tokens: are not all below the vocabulary's size 72; the tokenizer does not belong to this model"
    assert message(mute, "[5, 72]") == message(mute, "[5, -1]") == outside
    assert message(mute, "[5, 4294967301]") == "FILE: is not a list of tokens: it has 4294967301"
    assert message(mute, "[5, 1.5]") == "FILE: is not a list of tokens: it has 1.5"
    assert message(mute, '{"a": 1}') == "FILE: is not a list of tokens"
    assert message(mute, "[5, 6]", "--context", 1) == "context: is 1: windows have at least two tokens"
    assert message(mute, "[5, 6]", "--dtype", "float31") == (
        "--dtype: 'float31' is not a type models are run in; use float64, float32, bfloat16 or float16"
    )
    assert message(mute, "[5, 6]", "--dtype", "int8").startswith("--dtype: 'int8' is not a type models are run in")
    assert message(mute, "[5, 6]", "--device", "abacus") == (
        "device abacus: is not one that this libtorch can use; use cpu, or a torch with CUDA"
    )
    assert "tokenizer.json" in message(mute, "a b", suffix="txt")
    assert "tokenizer.json" in message(mute, "[5, 6]", "--bos")
    assert "UTF-8" in message(spoken, b"abc\xff\xfe", suffix="txt")
    assert message(spoken, '{"text": "a"}\n\n{"txt": "b"}\n', suffix="jsonl") == (
        'FILE:3: is not an object with a string "text"'
    )
    assert message(spoken, '{"text": "a"}\n{"text": \n', suffix="jsonl").startswith("FILE:2")
    absent = tmp_path / "none.txt"
    assert refused("eval", spoken, "--text", absent) == f"{absent}: cannot open: No such file or directory"
    other = tmp_path / "other"
    tiny_models.save(other, "llama", "power_of_two", torch.float32, vocab_size=80)
    assert message(mute, "[5, 6]", "--reference", other) == (
        f"{other}: has a vocabulary of 80, not of 72; a reference has the same tokens"
    )
