"""Rotations learned from the loss of the whole quantized network, end to end: every kind of family runs, the loss of
held-out text falls, and the result is the source's function."""

import pytest
import tiny_models
import torch

from command import refused, spinor, spinor_json
from learned_models import (
    BOUND,
    CONTEXT,
    LEARNED,
    LEARNING,
    difference,
    gptq,
    recipe,
    record,
    rotate,
    rotations,
    spin,
    text,
)

# All windows in each step: tiny models learn in few of them.
STEPS = {"steps": 12, "batch": 4 * CONTEXT, "learning_rate": 0.01}
NETWORK = LEARNING | STEPS | {"objective": "kl", "starts_from": "drawn"}

# Of fewer samples, what is gained on others hangs on a machine's arithmetic.
MORE = {"steps": 30, "samples": 16, "holdout": 16}

# Parts of a layer that gradients go through: biases, sliding windows, fused and latent attention, norms of heads, tied
# heads, LayerNorms and two blocks in parallel, mixtures, gates, sinks, linear attention. The objective and the bits at
# which the tiny model has something to gain that held-out random tokens see.
FAMILIES = {"llama": ("kl", 2), "mistral": ("kl", 2), "phi3": ("kl", 3), "qwen3": ("cross_entropy", 3),
            "gpt2": ("kl", 3), "cohere": ("kl", 2), "mixtral": ("kl", 3), "qwen3_moe": ("kl", 3),
            "gpt_oss": ("kl", 2), "deepseek_v3": ("kl", 2), "qwen3_next": ("kl", 2)}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_family_learns_end_to_end(source, tmp_path, family):
    model, out, (objective, bits) = source(family, torch.float64), tmp_path / "out", FAMILIES[family]
    legal = ["R1"] if family == "qwen3_next" else ["R1", "R2"]
    learning = {"rotations": legal, "objective": objective, "scales": [], "activation_bits": bits, "kv_bits": bits}
    steps = recipe(tmp_path / "recipe.json", spin(rotations=legal, learning=NETWORK | MORE | learning))
    tokens = torch.randint(3, 72, (40 * CONTEXT,), generator=torch.Generator().manual_seed(5)).tolist()
    done = rotate(model, out, steps, "--calibration", text(tmp_path, tokens))
    assert done.returncode == 0, done.stderr
    found = record(out)["held_out"][objective]
    assert found["loss"] < found["loss_as_drawn"] == found["loss_at_start"]
    assert difference(model, out, torch.float64) <= BOUND[torch.float64]


def test_gradients_go_through_a_relu_that_is_a_gate(source, tmp_path):
    tiny_models.SHAPES["gated_relu"] = tiny_models.SHAPES["power_of_two"] | {"hidden_act": "relu"}
    model, out = source("llama", torch.float64, "gated_relu"), tmp_path / "out"
    steps = recipe(tmp_path / "recipe.json", spin(rotations=["R1"], learning=NETWORK | {"scales": []}))
    done = rotate(model, out, steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert record(out)["held_out"]["kl"]["loss"] > 0
    assert difference(model, out, torch.float64) <= BOUND[torch.float64]


def test_the_command_learns_by_an_objective(source, tmp_path):
    """From what psot has learned, which is its default; steps of the objective's own."""
    file = tmp_path / "found.safetensors"
    common = ["--calibration", text(tmp_path), "--calibration-context", CONTEXT, "--threads", 1]
    found = spinor_json("learn", source(), file, "--objective", "kl", *common)["learning"]
    assert (found["objective"], found["starts_from"], found["steps"], found["batch"]) == ("kl", "psot", 50, 512)
    losses = found["held_out"]["kl"]
    assert losses["loss_at_start"] < losses["loss_as_drawn"]
    # What is judged is the best of the three, with weights as they are saved: some codes fall the other way.
    assert found["held_out"]["kl_divergence_with_R1"] == pytest.approx(min(losses.values()), rel=0.05)
    assert "R1" in found["kept"] and {"R1", "R2.0", "R2.1"} <= set(rotations(file))
    spinor("rotate", source(), tmp_path / "by-file", "--rotation", file, "--quiet")
    assert difference(source(), tmp_path / "by-file", torch.float32) <= BOUND[torch.float32]


def test_r2_is_learned_alone_and_gptq_follows(source, tmp_path):
    learning = NETWORK | {"rotations": ["R2"], "learning_rate": 0.003}
    steps = recipe(tmp_path / "recipe.json", spin(rotations=["R1", "R2"], learning=learning),
                   gptq(kv_cache_scheme={"num_bits": 4, "symmetric": False, "strategy": "token", "dynamic": True}))
    options = ["--calibration", text(tmp_path), "--calibration-samples", 4, "--calibration-context", CONTEXT]
    done = rotate(source(), tmp_path / "out", steps, *options, command="quantize")
    assert done.returncode == 0, done.stderr
    found = record(tmp_path / "out")
    assert found["held_out"]["kl"]["loss"] < found["held_out"]["kl"]["loss_as_drawn"]
    if "R2" in found["kept"]:
        assert "R1" not in found["kept"] and "R2.1" in rotations(tmp_path / "out" / LEARNED)


def test_the_start_is_kept_where_the_loss_does_not_fall(source, tmp_path):
    """Steps so long that they end nowhere near what psot has found; that is better than what was drawn, and kept."""
    learning = NETWORK | {"starts_from": "psot", "learning_rate": 1.0, "steps": 2, "scales": []}
    low = {"activation_bits": 2, "kv_bits": 2}
    steps = recipe(tmp_path / "recipe.json", spin(rotations=["R1"], learning=learning | low))
    done = rotate(source("mixtral"), tmp_path / "out", steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    found = record(tmp_path / "out")
    losses = found["held_out"]["kl"]
    assert losses["loss_at_start"] < min(losses["loss"], losses["loss_as_drawn"])
    assert "kl: what was learned has a loss of" in done.stderr and found["kept"] == ["R1"]
    assert found["learned"]["kl_divergence"] == pytest.approx(losses["loss_at_start"], rel=0.05)  # as there


BAD = {
    "16 bits": ({"activation_bits": 16, "kv_bits": 4}, "objective kl: is of the quantized network"),
    "start of rows": ({"objective": "psot"}, "learning.starts_from: is of objectives of the whole network"),
    "start of the network": ({"starts_from": "cross_entropy"}, "is cross_entropy, which is no objective of rows"),
    "start": ({"starts_from": "drwan"}, "learning.starts_from: is drwan, which is no objective of rows; take"),
    "rows that are not there": ({"first_token": 3.0}, "learning.first_token: weighs rows, and nothing is learned from"),
    "name": ({"objective": "kll"}, "objective: 'kll' is unknown; did you mean 'kl'?"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_sense_is_refused(source, tmp_path, name):
    changed, problem = BAD[name]
    steps = recipe(tmp_path / "recipe.json", spin(learning=NETWORK | changed))
    message = refused("rotate", source(), tmp_path / "out", "--recipe", steps, "--calibration", text(tmp_path))
    assert problem in message and not list(tmp_path.glob("out*"))


def test_the_network_does_not_learn_v(source, tmp_path):
    quip = {"rotations": ["v"], "transform_type": "random-hadamard", "learnable": True}
    steps = recipe(tmp_path / "recipe.json", ("QuIPModifier", quip | {"learning": LEARNING | {"objective": "kl"}}))
    message = refused("quantize", source(), tmp_path / "out", "--recipe", steps, "--calibration", text(tmp_path))
    assert "objective kl: is of the whole network, by which R1 and R2 are learned, and not v" in message


def test_an_illegal_r1_and_an_objective_of_nothing_are_refused(source, tmp_path):
    common = ["--calibration", text(tmp_path), "--calibration-context", CONTEXT]
    message = refused("rotate", source("gemma3"), tmp_path / "out", "--learn", "--objective", "kl", *common)
    assert "R1 would change the model" in message
    message = refused("rotate", source(), tmp_path / "out", "--objective", "kl", *common)
    assert message == "--objective: is what rotations are learned by, and nothing is to be learned; give --learn"
