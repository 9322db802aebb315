"""`compare` says whether to rotate, from runs that `eval` makes as well."""

import json
from statistics import median

import pytest
import torch

import tiny_models
from command import refused, spinor, spinor_json
from logits import load
from quantize_client_test import SHAPES  # noqa: F401  adds the shape "quantizable"

TEXT = torch.randint(3, 72, (120,), generator=torch.Generator().manual_seed(5)).tolist()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "tokens.json"
    path.write_text(json.dumps(TEXT))
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model whose weights and activations are Gaussian: there is little to gain."""
    directory = tmp_path_factory.mktemp("plain")
    return tiny_models.save(directory, "llama", "quantizable", torch.float32, tie_word_embeddings=False)


@pytest.fixture(scope="module")
def outliers(tmp_path_factory):
    """The same function, but each norm enlarges three channels, and the weights behind it make up for that."""
    directory = tmp_path_factory.mktemp("outliers")
    model = tiny_models.make("llama", "quantizable", torch.float32, tie_word_embeddings=False)
    with torch.no_grad():
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for norm, readers in (
                (layer.input_layernorm, [attention.q_proj, attention.k_proj, attention.v_proj]),
                (layer.post_attention_layernorm, [mlp.gate_proj, mlp.up_proj]),
            ):
                norm.weight[:3] *= 60
                for reader in readers:
                    reader.weight[:, :3] /= 60
    model.save_pretrained(directory)
    return directory


def compared(model, text, *options):
    return spinor_json("compare", model, "--token-ids", text, "--context", 40, "--threads", 1, *options)


def test_the_runs_are_those_of_eval(plain, text):
    common = ["--scheme", "W4A16", "--activations", 6]
    result = compared(plain, text, *common, "--seeds", 2, "--first-seed", 5)
    assert set(result) == {"original_perplexity", "tokens", "variants", "left_out", "rotate", "advice", "command"}
    assert result["tokens"] == 3 * 39
    assert [variant["name"] for variant in result["variants"]] == ["unrotated", "R1+R2", "R1-R4"]
    for variant in result["variants"]:
        assert set(variant) == {"name", "rotations", "perplexity", "kl_divergence", "runs"}
        seeds = [run["seed"] for run in variant["runs"]]
        assert seeds == ([5, 6] if variant["rotations"] else [0])
        for figure in ("perplexity", "kl_divergence"):
            assert variant[figure] == pytest.approx(median(run[figure] for run in variant["runs"]), rel=1e-12)
        rotated = ["--rotations", ",".join(variant["rotations"]), "--transform-type", "random-hadamard"]
        rotated += ["--seed", seeds[-1]]
        alone = spinor_json(
            "eval", plain, "--token-ids", text, "--context", 40, "--threads", 1, "--reference", plain,
            *common, *(rotated if variant["rotations"] else []),
        )  # fmt: skip
        assert variant["runs"][-1]["perplexity"] == alone["perplexity"]
        assert variant["runs"][-1]["kl_divergence"] == alone["kl_divergence"]
        assert result["original_perplexity"] == alone["reference_perplexity"]


def wins(result):
    """Rotations whose median beats the unrotated model by more than their seeds are apart, the best first."""
    unrotated, *rotated = result["variants"]
    found = []
    for variant in rotated:
        runs = [run["perplexity"] for run in variant["runs"]]
        if unrotated["perplexity"] - median(runs) > max(runs) - min(runs):
            found.append((median(runs), variant))
    return [variant for _, variant in sorted(found, key=lambda pair: pair[0])]


def test_a_gain_within_the_spread_is_none(plain, text):
    result = compared(plain, text, "--scheme", "W8A8", "--seeds", 3)
    assert not wins(result)
    assert result["rotate"] is False and result["command"] is None
    assert result["advice"] == (
        "Do not rotate: no rotation beats the unrotated model by more than its seeds are apart."
    )


@pytest.fixture(scope="module")
def own_text(tmp_path_factory, outliers):
    """Windows that the model wrote itself: whatever it is changed to predicts them worse."""
    model = load(outliers, torch.float32)
    torch.manual_seed(1)
    start = torch.arange(10, 26)[:, None]
    tokens = model.generate(start, do_sample=True, top_k=0, max_new_tokens=39, eos_token_id=None, pad_token_id=0)
    path = tmp_path_factory.mktemp("text") / "tokens.json"
    path.write_text(json.dumps(tokens.flatten().tolist()))
    return path


def test_a_gain_beyond_the_spread_is_advised(outliers, own_text):
    result = compared(outliers, own_text, "--activations", 5, "--seeds", 3)
    best = wins(result)[0]
    assert result["rotate"] == best["rotations"]
    seed = min(best["runs"], key=lambda run: run["perplexity"])["seed"]
    assert result["advice"] == (
        f"Rotate with {best['name']}: the median over 3 seeds beats the unrotated model by more than they are apart. "
        f"Best seed here: {seed}."
    )
    printed = spinor(
        "compare", outliers, "--token-ids", own_text, "--context", 40, "--threads", 1, "--activations", 5, "--seeds", 3,
        "--quiet",
    )  # fmt: skip
    assert f"the original model's perplexity is {result['original_perplexity']:.4f}" in printed
    command = f"spinor rotate {outliers} OUT --rotations R1,R2 --transform-type auto-random --seed {seed}"
    assert result["command"] == command and printed.endswith(f"{result['advice']}\n{command}\n")


def test_a_recipe_gives_its_matrices(plain, text, tmp_path):
    """Its rotations are replaced, what it says of the matrices is not; fixed matrices become random ones."""
    recipe = tmp_path / "recipe.yaml"
    modifiers = {
        "SpinQuantModifier": {"rotations": ["R1"], "transform_block_size": 64},
        "QuantizationModifier": {"scheme": "W8A8", "ignore": ["lm_head"]},
    }
    recipe.write_text(json.dumps({"test_stage": {"test_modifiers": modifiers}}))
    result = compared(plain, text, "--recipe", recipe, "--seeds", 1)
    modifiers["SpinQuantModifier"] |= {"rotations": ["R1", "R2"], "transform_type": "random-hadamard", "seed": 1}
    recipe.write_text(json.dumps({"test_stage": {"test_modifiers": modifiers}}))
    alone = spinor_json("eval", plain, "--token-ids", text, "--context", 40, "--threads", 1, "--recipe", recipe)
    assert result["variants"][1]["perplexity"] == alone["perplexity"]


def test_says_what_it_cannot_compare(plain, text, tmp_path):
    common = ["compare", plain, "--token-ids", text]
    own = "compare: tries rotations and seeds of its own; leave out --rotations, --quip and --seed"
    for option in (["--rotations", "R1"], ["--seed", 3], ["--quip", "v"]):
        assert refused(*common, "--scheme", "W8A8", *option) == own
    nothing = (
        "compare: nothing is quantized, and a rotation alone changes nothing; "
        "give --recipe or --scheme, or --activations and --kv"
    )
    assert refused(*common) == nothing
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("test_stage: {test_modifiers: {SpinQuantModifier: {rotations: [R1]}}}")
    assert refused(*common, "--recipe", recipe) == nothing


def test_a_recipe_with_gptq_is_calibrated_for_every_variant(plain, text, tmp_path):
    recipe, samples = tmp_path / "recipe.json", tmp_path / "samples.json"
    arguments = {"targets": "Linear", "ignore": ["lm_head"], "scheme": "W4A16"}
    recipe.write_text(json.dumps({"quant_stage": {"quant_modifiers": {"GPTQModifier": arguments}}}))
    samples.write_text(json.dumps(torch.randint(3, 72, (320,), generator=torch.Generator().manual_seed(6)).tolist()))
    data = ["--calibration", samples, "--calibration-samples", 8, "--calibration-context", 40]
    assert "give --calibration FILE" in refused("compare", plain, "--token-ids", text, "--recipe", recipe)
    result = compared(plain, text, "--recipe", recipe, *data, "--seeds", 1)
    spinor("quantize", plain, tmp_path / "out", "--recipe", recipe, *data, "--threads", 1, "--quiet")
    common = ["--token-ids", text, "--context", 40, "--threads", 1, "--reference", plain]
    alone = spinor_json("eval", tmp_path / "out", *common)
    assert result["variants"][0]["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-9)
    assert [len(variant["runs"]) for variant in result["variants"]] == [1, 1, 1]


LEARNING = {"context": 40, "samples": 4, "holdout": 4, "steps": 30, "batch": 64, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def spikes(tmp_path_factory):
    """Large channels of the residual stream, which the seeds' matrices spread and learned ones spread better."""
    directory = tmp_path_factory.mktemp("spikes")
    model = tiny_models.make("llama", "power_of_two", torch.float32, tie_word_embeddings=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[:, [3, 20, 33]] *= 30
    model.save_pretrained(directory)
    return directory


def calibration(tmp_path):
    path = tmp_path / "calibration.json"
    tokens = torch.randint(3, 72, (8 * 40,), generator=torch.Generator().manual_seed(9)).tolist()
    path.write_text(json.dumps(tokens))
    return ["--calibration", path, "--calibration-context", 40]


def test_rows_for_the_best_of_several_seeds_and_for_what_is_learned(spikes, text, tmp_path):
    data = calibration(tmp_path)
    low_bits = ["--activations", 4, "--kv", 4]
    result = compared(spikes, text, *low_bits, *data, "--learn", "--best-of", 3, "--seeds", 2, "--first-seed", 5)
    names = ["unrotated", "R1+R2", "R1-R4", "R1-R4 best of 3", "R1-R4 learned"]
    assert [variant["name"] for variant in result["variants"]] == names
    *_, best, learned = result["variants"]
    assert best["learning"]["seeds"]["first"] == 5 and best["learning"]["kept"] == []
    assert [run["seed"] for run in best["runs"]] == [best["learning"]["seeds"]["chosen"]]
    assert [run["seed"] for run in learned["runs"]] == [5] and "R1" in learned["learning"]["held_out"]
    assert learned["learning"]["context"] == best["learning"]["context"] == 40
    # What is measured is what rotate writes.
    rotated = ["--rotations", "R1,R2,R3,R4", "--transform-type", "auto-random"]
    common = ["--token-ids", text, "--context", 40, "--threads", 1, "--reference", spikes, *low_bits]
    for row, options in ((best, ["--seed", best["runs"][0]["seed"]]), (learned, ["--seed", 5, "--learn", *data])):
        out = tmp_path / row["name"].replace(" ", "-")
        spinor("rotate", spikes, out, *rotated, *options, "--threads", 1, "--dtype", "float32", "--quiet")
        alone = spinor_json("eval", out, *common)
        assert row["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-3)  # float32 weights, rounded once more
    printed = spinor("compare", spikes, "--token-ids", text, "--context", 40, *low_bits, *data, "--learn", "--seeds", 1)
    assert "\nR1-R4 learned " in printed


def test_a_text_to_learn_from_alone_may_be_short(spikes, text, tmp_path):
    """Shorter than a sample of GPTQ, which nobody asks for."""
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps([3 + i * i % 67 for i in range(1030)]))
    result = compared(spikes, text, "--activations", 4, "--seeds", 1, "--best-of", 2, "--calibration", path)
    assert result["variants"][-1]["learning"]["context"] == 512


def test_the_advice_to_learn_can_be_typed(spikes, tmp_path):
    """A text that the model itself wrote, so that what is nearer to it predicts it better."""
    model = load(spikes, torch.float32)
    torch.manual_seed(3)
    start = torch.arange(10, 70).repeat(10)[:, None]  # the mean of so many tells divergences of 0.003 and 0.004 apart
    tokens = model.generate(start, do_sample=True, top_k=0, max_new_tokens=39, eos_token_id=None, pad_token_id=0)
    own = tmp_path / "own.json"
    own.write_text(json.dumps(tokens.flatten().tolist()))
    data = calibration(tmp_path)
    result = compared(spikes, own, "--activations", 3, "--kv", 3, *data, "--learn", "--seeds", 2)
    learned = result["variants"][-1]
    assert min(result["variants"], key=lambda row: row["perplexity"]) is learned
    assert result["advice"] == "Rotate with R1-R4 learned: it beats the unrotated model by more than seeds are apart."
    command = (
        f"spinor rotate {spikes} OUT --rotations R1,R2,R3,R4 --transform-type auto-random --seed 1 --learn "
        f"--calibration {data[1]} --calibration-context 40 --threads 1"
    )
    assert result["command"] == command
    spinor(*command.replace("OUT", str(tmp_path / "out")).split()[1:], "--quiet")
    assert (tmp_path / "out" / "learned" / "rotations.safetensors").exists()

    # A recipe says the rest, and is told what its file has to say.
    recipe = tmp_path / "recipe.json"
    spin = {"transform_type": "random-orthogonal", "learnable": True}
    gptq = {"targets": "Linear", "ignore": ["lm_head"], "scheme": "W8A8"}
    modifiers = {"a_modifiers": {"SpinQuantModifier": spin}, "b_modifiers": {"GPTQModifier": gptq}}
    recipe.write_text(json.dumps({"quant_stage": modifiers}))
    samples = ["--calibration-samples", 4, "--calibration-seed", 2, "--calibration-all-experts"]
    low_bits = ["--activations", 3, "--kv", 3]
    result = compared(spikes, own, "--recipe", recipe, *low_bits, *data, *samples, "--seeds", 1)
    assert result["command"] == (
        f"spinor quantize {spikes} OUT --recipe {recipe} --calibration {data[1]} --calibration-context 40 "
        "--calibration-samples 4 --calibration-seed 2 --calibration-all-experts --threads 1, whose SpinQuantModifier "
        "has rotations: [R1, R2, R3, R4], transform_type: random-orthogonal, seed: 1, learnable: true, "
        "learning: {context: 40}"
    )


def test_a_recipe_that_learns_has_its_row(spikes, text, tmp_path):
    arguments = {"learnable": True, "seeds": 2, "learning": LEARNING | {"steps": 3}}
    weights = {"targets": ["Linear"], "weights": {"num_bits": 4, "strategy": "channel"}}
    modifiers = {
        "SpinQuantModifier": {"transform_type": "auto-random", **arguments},
        "GPTQModifier": {"ignore": ["lm_head"], "config_groups": {"group_0": weights}},
    }
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"quant_stage": {"quant_modifiers": modifiers}}))
    data = [*calibration(tmp_path), "--calibration-samples", 4]
    result = compared(spikes, text, "--recipe", recipe, *data, "--seeds", 1)
    names = ["unrotated", "R1+R2", "R1-R4", "R1-R4 best of 2", "R1-R4 learned"]
    assert [variant["name"] for variant in result["variants"]] == names
    assert result["variants"][-1]["learning"]["steps"] == 3
    del modifiers["GPTQModifier"]
    recipe.write_text(json.dumps({"quant_stage": {"quant_modifiers": modifiers}}))
    result = compared(spikes, text, "--recipe", recipe, "--activations", 4, "--seeds", 1)
    assert len(result["variants"]) == 3
    assert "learned: the recipe's rotations are learnable, and there is no calibration text" in result["left_out"]


def test_learning_takes_a_text_of_its_own(plain, text):
    common = ["compare", plain, "--token-ids", text, "--activations", 4]
    assert refused(*common, "--learn") == (
        "--learn: takes a text to learn from; give --calibration FILE, another text than --text"
    )
    assert "takes a text to choose by" in refused(*common, "--best-of", 3)
