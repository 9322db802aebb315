"""Transforms that act while the model runs: with the model card's code they and the rotated weights are the source's
function; and the recipe of compressed-tensors' pull request 277, word for word but for the sizes."""

import json
import re

import pytest
import torch
import transformers
from safetensors.torch import load_file

from command import spinor
from logits import difference, load, logits
from tiny_models import SHAPES, make, save

SHAPES["llama_1b_by_32"] = {  # as 2048, 8192 and 512 of Llama-3.2-1B
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "tie_word_embeddings": True,
}
PULL_REQUEST_277 = """
quant_stage:
  quant_modifiers:
    QuantizationModifier:
      config_groups:
        group_0:
          targets: [Linear]
          weights: {num_bits: BITS, type: int, symmetric: true, strategy: group, group_size: 16, observer: mse}
      ignore: [lm_head]
      transform_config:
        transform_groups:
          u_transform_k_v_proj:
            transform_type: random-hadamard
            groups:
              - targets: ["re:.*.attn.k_proj$", "re:.*.attn.v_proj$"]
                module_targets: [weight]
            transform_creation_args: {size: 16}
          u_transform_q_o_down_proj:
            transform_type: random-hadamard
            groups:
              - targets: ["re:.*.attn.q_proj$", "re:.*.attn.o_proj$", "re:.*.mlp.down_proj$"]
                module_targets: [weight]
            transform_creation_args: {size: 64}
          u_transform_gate_up_proj:
            transform_type: random-hadamard
            groups:
              - targets: ["re:.*.mlp.gate_proj$", "re:.*.mlp.up_proj$"]
                module_targets: [weight]
            transform_creation_args: {size: 256}
          v1:
            transform_type: random-hadamard
            groups:
              - targets: [Linear]
                module_targets: [weight]
                ignore: ["re:.*.mlp.down_proj$", lm_head]
                call_args: {transpose: true, first: false}
            transform_creation_args: {size: 64}
          v2:
            transform_type: random-hadamard
            groups:
              - targets: ["re:.*.mlp.down_proj$"]
                module_targets: [weight]
                call_args: {transpose: true, first: false}
            transform_creation_args: {size: 256}
"""
DENSE = "transform_type: random-orthogonal"
RECIPES = {
    "v": "QuIPModifier: {}",
    "u": "QuIPModifier: {rotations: [u]}",
    "v and u in blocks": "QuIPModifier: {rotations: [v, u], transform_type: hadamard, transform_block_size: 8}",
    "v and u randomized": "QuIPModifier: {rotations: [v, u], randomize: true, seed: 5}",
    "v and u of random matrices": "QuIPModifier: {rotations: [v, u], transform_type: random-matrix}",
    "v and u of random orthogonal matrices": "QuIPModifier: {rotations: [v, u], transform_type: random-orthogonal}",
    "the head": "QuIPModifier: {rotations: [v], ignore: []}",
    "R1 to R4": "SpinQuantModifier: {rotations: [R1, R2, R3, R4]}",
    "R1 to R4, random orthogonal": "SpinQuantModifier: {rotations: [R1, R2, R4], transform_type: random-orthogonal}",
    "R4 randomized": "SpinQuantModifier: {rotations: [R4], randomize: true, transform_type: random-hadamard}",
    "R1, R2, then u and v": "SpinQuantModifier: {}\n    QuIPModifier: {rotations: [u, v]}",
    "R4, then v": f"SpinQuantModifier: {{rotations: [R4], {DENSE}}}\n    QuIPModifier: {{{DENSE}, seed: 7}}",
    "v and u, then R2 and R4": f"QuIPModifier: {{rotations: [v, u], {DENSE}, seed: 7}}\n"
    f"    SpinQuantModifier: {{rotations: [R2, R4], {DENSE}}}",
}


def card_loader(directory):
    """`load` as the model card in the output has it."""
    code = re.search(r"```python\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL).group(1)
    scope = {}
    exec(code, scope)
    return scope["load"]


def linears(model):
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            yield name, module


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_weights_and_online_transforms_are_the_function_of_the_source(tmp_path, family, name):
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(f"a_stage:\n  b_modifiers:\n    {RECIPES[name]}\n")
    source = save(tmp_path / "model", family, "power_of_two")
    spinor("rotate", source, out, "--recipe", recipe, "--quiet")
    online = card_loader(out)(out, dtype=torch.float64, attn_implementation="sdpa")  # the peer hooks no eager attention
    expected, got = logits(load(source, torch.float64)), logits(online)
    # The weights alone are another function, so that something is tested.
    transformers.logging.set_verbosity_error()
    plain = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float64, attn_implementation="eager")
    assert difference(expected, logits(plain.eval()))[0] > 1e-3
    # 1e-9 as for fused rotations. A random matrix of size 128 has a condition of 1e4 or so, which multiplies 1e-16.
    assert difference(expected, got)[0] <= 1e-9


@pytest.mark.parametrize("name", ["R4, then v", "v and u, then R2 and R4"])
def test_two_transforms_of_one_input_are_run_probed_and_folded_in_the_same_order(tmp_path, name):
    recipe, out, dense = tmp_path / "recipe.yaml", tmp_path / "out", tmp_path / "dense"
    recipe.write_text(f"a_stage:\n  b_modifiers:\n    {RECIPES[name]}\n")
    source = save(tmp_path / "model", "llama", "power_of_two")
    spinor("rotate", source, out, "--recipe", recipe, "--quiet")
    spinor("verify", source, out, "--random-tokens", 32, "--quiet")
    spinor("verify", source, out, "--quiet")
    spinor("dequantize", out, dense, "--quiet")
    expected, got = (logits(load(directory, torch.float64)) for directory in (source, dense))
    assert difference(expected, got)[0] <= 1e-9


def test_one_of_two_linears_that_read_the_same_in_an_expert(tmp_path):
    """The other one reads what was not transformed."""
    source, out = save(tmp_path / "model", "mixtral", "plain"), tmp_path / "out"
    recipe = tmp_path / "recipe.yaml"
    quip = "QuIPModifier: {rotations: [v], transform_type: random-hadamard, targets: ['re:.*w1$']}"
    recipe.write_text(f"a_stage:\n  b_modifiers:\n    {quip}\n")
    spinor("rotate", source, out, "--recipe", recipe, "--quiet")
    spinor("verify", source, out, "--random-tokens", 32, "--quiet")


@pytest.fixture(scope="module")
def llama_with_outliers(tmp_path_factory):
    """A few columns of each weight are larger than the others, as in trained models; transforms are for them."""
    model = make("llama", "llama_1b_by_32", torch.float32)
    with torch.no_grad():
        for _, linear in linears(model):
            linear.weight[:, ::16] *= 8
    directory = tmp_path_factory.mktemp("llama") / "model"
    model.save_pretrained(directory)
    return directory


@torch.no_grad()
@pytest.mark.parametrize("bits", [4, 8])
def test_the_recipe_of_pull_request_277(tmp_path, llama_with_outliers, bits):
    text = PULL_REQUEST_277.replace("BITS", str(bits))
    with_transforms, without = tmp_path / "with.yaml", tmp_path / "without.yaml"
    with_transforms.write_text(text)
    without.write_text(text[: text.index("      transform_config:")])
    packed, dense, plain = tmp_path / "packed", tmp_path / "dense", tmp_path / "plain"
    spinor("quantize", llama_with_outliers, packed, "--recipe", with_transforms, "--quiet")
    for recipe, out in ((with_transforms, dense), (without, plain)):
        recipe.write_text(recipe.read_text().replace("      ignore:", "      format: dense\n      ignore:", 1))
        spinor("quantize", llama_with_outliers, out, "--recipe", recipe, "--quiet")

    online = card_loader(packed)(packed, dtype=torch.float32)
    names = [name for name, _ in linears(online)]
    for name, linear in linears(online):
        transforms = [child for child, _ in linear.named_children()]
        assert sorted(t.rsplit("_", 1)[1] for t in transforms) == ["input", "output"], name
    logits(online)  # decompresses the weights
    # The dense weights were rounded to float32 after they were rotated back.
    assert difference(logits(load(dense, torch.float64)), logits(online.double()))[0] <= 1e-5

    source, rotated, straight = (load_file(d / "model.safetensors") for d in (llama_with_outliers, dense, plain))
    errors = {}
    for name in names:
        weight = source[f"{name}.weight"]
        errors[name] = [((t[f"{name}.weight"] - weight).norm() / weight.norm()).item() for t in (rotated, straight)]
        print(f"int{bits} {name}: {errors[name][0]:.5f} with transforms, {errors[name][1]:.5f} without")
    assert sum(e[0] for e in errors.values()) < sum(e[1] for e in errors.values())
    saved = json.loads((packed / "config.json").read_text())["quantization_config"]["transform_config"]
    assert list(saved["config_groups"])[-2:] == ["v1", "v2"]


def test_its_saved_recipe_gives_the_same_bytes(tmp_path, llama_with_outliers):
    recipe, first, again = tmp_path / "recipe.yaml", tmp_path / "first", tmp_path / "again"
    recipe.write_text(PULL_REQUEST_277.replace("BITS", "4"))
    spinor("quantize", llama_with_outliers, first, "--recipe", recipe, "--quiet")
    spinor("quantize", llama_with_outliers, again, "--recipe", first / "recipe.yaml", "--quiet")
    for file in ("model.safetensors", "config.json", "recipe.yaml"):
        assert (first / file).read_bytes() == (again / file).read_bytes()
