"""The dense reference is what it says: transformers' models without its knobs, the same function when rotated, and
compressed-tensors' numbers when quantized."""

import json

import pytest
import torch
import transformers
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle import fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams, compute_dynamic_scales_and_zp

import tiny_models
from command import spinor
from logits import TOKENS, KeepFloat64, difference, load, logits
from quip_test import RECIPES
from reference_model import LINEARS, Quantizer, Reference, perplexity

LLAMA3_ROPE = {
    "rope_theta": 10000.0,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
# Families, and what a family's config can say besides.
MODELS = {
    **{family: (family, {}) for family in tiny_models.FAMILIES},
    "llama, scaled as Llama 3.1": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama, positions divided": (
        "llama",
        {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}},
    ),
    "mistral, without a window": ("mistral", {"sliding_window": None}),
    "qwen2, second layer windowed": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "smollm3, second layer windowed": ("smollm3", {"use_sliding_window": True, "sliding_window": 8}),
}
# Float32 is rounded differently in places; float64 has RoPE's float32 in common, and nothing else that is narrower.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", tiny_models.SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(tmp_path, name, shape, dtype):
    family, overrides = MODELS[name]
    tiny_models.save(tmp_path, family, shape, dtype, **overrides)
    largest, _ = difference(logits(load(tmp_path, dtype)), Reference(tmp_path, dtype).logits(TOKENS).double())
    assert largest <= TOLERANCE[dtype]


def orthogonal(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


# Of the shape three_heads: hidden size 48, head size 16, intermediate size 80.
ROTATIONS = {
    "R1": {"R1": orthogonal(48)},
    "R2": {"R2": orthogonal(16)},
    "R2 of each layer": {"R2": [orthogonal(16, seed=1), orthogonal(16, seed=2)]},
    "R3": {"R3": orthogonal(16)},
    "R4": {"R4": orthogonal(80)},
    "all": {"R1": orthogonal(48), "R2": orthogonal(16), "R3": orthogonal(16), "R4": orthogonal(80)},
    "R1 and R4 in blocks": {"R1": orthogonal(16), "R4": orthogonal(8)},
}


@pytest.mark.parametrize("family", ["llama", "qwen3", "granite"])
@pytest.mark.parametrize("name", ROTATIONS)
def test_rotations_change_nothing(tiny, name, family):
    source, expected = tiny(family, "three_heads", torch.float64)
    rotated = Reference(source, torch.float64, rotations=ROTATIONS[name])
    assert difference(expected, rotated.logits(TOKENS))[0] <= 1e-9
    # The rotation is really there: quantized values then differ from those of the source.
    coarse = {"weights": Quantizer(4), "activations": Quantizer(4), "keys": Quantizer(4), "values": Quantizer(4)}
    plain = Reference(source, torch.float64, **coarse).logits(TOKENS)
    rotated = Reference(source, torch.float64, rotations=ROTATIONS[name], **coarse).logits(TOKENS)
    assert difference(plain, rotated)[0] > 0.01


def test_keys_are_rotated_before_they_are_quantized(tiny):
    source, _ = tiny("llama", "three_heads", torch.float64)
    plain, rotated = (
        Reference(source, torch.float64, rotations=rotations, keys=Quantizer(3)).logits(TOKENS)
        for rotations in ({}, {"R3": orthogonal(16)})
    )
    assert difference(plain, rotated)[0] > 0.01


TRANSFORMS = {
    **RECIPES,
    "R1 to R4, random Hadamard": "SpinQuantModifier: {rotations: [R1, R2, R3, R4], transform_type: random-hadamard}",
    "R1 to R4 of dense matrices": "SpinQuantModifier: {rotations: [R1, R2, R3, R4], transform_type: random-orthogonal}",
    "R4 in permuted blocks": "SpinQuantModifier: {rotations: [R4], randomize: true, transform_block_size: 8}",
    "R3, R4, then u and v": "SpinQuantModifier: {rotations: [R3, R4]}\n    QuIPModifier: {rotations: [u, v]}",
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_stored_transforms_are_applied(tiny, tmp_path, name):
    source, expected = tiny("llama", "power_of_two", torch.float64)
    (tmp_path / "recipe.yaml").write_text(f"test_stage:\n  test_modifiers:\n    {TRANSFORMS[name]}\n")
    spinor("rotate", source, tmp_path / "out", "--recipe", tmp_path / "recipe.yaml", "--quiet")
    rotated = Reference(tmp_path / "out", torch.float64)
    assert difference(expected, rotated.logits(TOKENS))[0] <= 1e-9
    rotated.online.clear()
    assert difference(expected, rotated.logits(TOKENS))[0] > 0.01  # they are needed


# Rows of different sizes, one all zero, one all positive, one all negative.
ROWS = torch.randn(12, 64, generator=torch.Generator().manual_seed(3)) * torch.logspace(-3, 2, 12)[:, None]
ROWS[0], ROWS[1], ROWS[2] = 0, ROWS[1].abs(), -ROWS[2].abs()


def peer_args(quantizer, **options):
    strategy = {"group_size": quantizer.group, "strategy": "group"} if quantizer.group else {"strategy": "channel"}
    return QuantizationArgs(**{"num_bits": quantizer.bits, "symmetric": quantizer.symmetric, **strategy, **options})


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("group", [None, 16])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_are_quantized_as_by_compressed_tensors(bits, symmetric, group, dtype):
    quantizer, x = Quantizer(bits, symmetric, group), ROWS.to(dtype)
    args = peer_args(quantizer)
    groups = x.unflatten(-1, (-1, group or 64))
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    assert torch.equal(quantizer(x), fake_quantize(x, scale, zero, args))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_activations_are_quantized_as_by_compressed_tensors(bits, symmetric):
    x = ROWS.reshape(2, 6, 64)
    args = peer_args(Quantizer(bits, symmetric), strategy="token", dynamic=True)
    scale, zero = compute_dynamic_scales_and_zp(x, args, torch.nn.Module())
    assert torch.equal(Quantizer(bits, symmetric)(x), fake_quantize(x, scale, zero, args))


def test_clipping_shrinks_the_range():
    x = torch.tensor([[-1.0, 0.3, 2.0]])
    # The range -0.5 .. 1 in 15 steps of 0.1, of which five are below zero.
    assert torch.allclose(Quantizer(4, symmetric=False, clip=0.5)(x), torch.tensor([[-0.5, 0.3, 1.0]]))


def by_peer(x, bits, symmetric, strategy):
    """compressed-tensors' x, in rows of its last dimension."""
    args = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy=strategy, dynamic=strategy == "token")
    rows = x.flatten(0, -2)
    scale, zero = calculate_qparams(rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True), args)
    return fake_quantize(rows, scale, zero, args).reshape(x.shape)


class PeerCache(transformers.DynamicCache):
    """Keys, rotated by R3 and back, and values, as a quantized cache gives them back."""

    def update(self, keys, values, *arguments, **options):
        r3 = ROTATIONS["R3"]["R3"]
        keys = by_peer(keys @ r3, 3, False, "token") @ r3.T
        return super().update(keys, by_peer(values, 2, False, "token"), *arguments, **options)


@torch.no_grad()
def quantized_by_peers(model):
    """Transformers' model, W4A5 by compressed-tensors, with R4 before down_proj, and PeerCache.

    All of it asymmetric: a symmetric scale puts the extreme of a row on a tie, at -7.5 of four bits, so that the last
    bit of a product decides whether it becomes -8 or -7.
    """
    r4 = ROTATIONS["R4"]["R4"]
    for name, module in model.model.layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            rotate = r4 if "down_proj" in name else torch.eye(module.in_features, dtype=torch.float64)
            module.weight.copy_(by_peer(module.weight @ rotate, 4, False, "channel"))
            module.register_forward_pre_hook(lambda _, x, r=rotate: by_peer(x[0] @ r, 5, False, "token"))
    with KeepFloat64():
        return model(TOKENS, past_key_values=PeerCache()).logits


@pytest.mark.parametrize("family", ["llama", "qwen3", "granite"])
def test_a_quantized_model_is_transformers_with_compressed_tensors_in_every_place(tmp_path, family):
    model = tiny_models.make(family, "three_heads")
    for name, parameter in model.named_parameters():
        if "layernorm" in name or name == "model.norm.weight":
            parameter.data.fill_(1)  # a rotation folds the gains, which would move the activations' ranges
    model.save_pretrained(tmp_path)
    reference = Reference(
        tmp_path,
        torch.float64,
        rotations=ROTATIONS["R3"] | ROTATIONS["R4"],
        weights=Quantizer(4, symmetric=False),
        activations=Quantizer(5, symmetric=False),
        keys=Quantizer(3, symmetric=False),
        values=Quantizer(2, symmetric=False),
    )
    expected = quantized_by_peers(load(tmp_path, torch.float64))
    assert difference(expected, reference.logits(TOKENS))[0] <= 1e-9


def exhaustive(row, bits):
    """Of the twenty ranges of llm-compressor's grid that of least sum |error|^2.4, quantized by compressed-tensors."""
    args = QuantizationArgs(num_bits=bits, symmetric=True, strategy="channel")

    def quantized(step):
        shrink = 1 - step / 100
        return fake_quantize(row, *calculate_qparams(row.amin(-1) * shrink, row.amax(-1) * shrink, args), args)

    return min(map(quantized, range(20)), key=lambda q: (q - row).abs().pow(2.4).sum())


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_search_finds_the_range_of_least_error(bits):
    rows = ROWS[1:].double()
    for row, quantized in zip(rows, Quantizer(bits, mse=True)(rows), strict=True):
        assert torch.equal(quantized, exhaustive(row[None], bits)[0])


SCHEMES = {"W8A8": Quantizer(8), "W4A16_ASYM": Quantizer(4, symmetric=False, group=16), "W4A16": Quantizer(4, group=16)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_stored_codes_are_the_quantized_weights(tiny, tmp_path, scheme):
    source, _ = tiny("llama", "power_of_two", torch.float32)
    quantizer, rotations = SCHEMES[scheme], ["R1", "R2", "R3", "R4"]
    weights = {"num_bits": quantizer.bits, "symmetric": quantizer.symmetric, "group_size": quantizer.group}
    weights["strategy"] = "group" if quantizer.group else "channel"
    inputs = {"input_activations": {"num_bits": 8, "strategy": "token", "dynamic": True}} if scheme == "W8A8" else {}
    modifiers = {
        "SpinQuantModifier": {"rotations": rotations},
        "QuantizationModifier": {
            "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, **inputs}},
        },
    }
    (tmp_path / "recipe.json").write_text(json.dumps({"test_stage": {"test_modifiers": modifiers}}))
    spinor("rotate", source, tmp_path / "rotated", "--rotations", ",".join(rotations), "--quiet")
    spinor("quantize", source, tmp_path / "out", "--recipe", tmp_path / "recipe.json", "--quiet")
    stored, simulated = Reference(tmp_path / "out"), Reference(tmp_path / "rotated", weights=quantizer)
    for name in (f"model.layers.{layer}.{linear}.weight" for layer in (0, 1) for linear in LINEARS):
        # One rounding apart: spinor quantizes what it has rotated before it is rounded.
        assert torch.allclose(stored.tensors[name], simulated.tensors[name], rtol=1e-6, atol=1e-6), name
    assert difference(simulated.logits(TOKENS), stored.logits(TOKENS))[0] <= 1e-5


def test_perplexity_is_that_of_all_tokens_but_the_first_of_each_window(tiny):
    source, expected = tiny("llama", "three_heads", torch.float64)
    loss = torch.nn.functional.cross_entropy(expected[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten())
    assert perplexity(Reference(source, torch.float64), TOKENS) == pytest.approx(loss.exp().item(), rel=1e-9)
