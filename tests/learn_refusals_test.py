"""Learned rotations, where something is wrong: text, model, disk, options; killed; and files that are in the way."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from command import BINARY, refused, spinor
from faults_test import mount  # noqa: F401
from learned_models import (
    BOUND,
    CONTEXT,
    HARD,
    LEARNED,
    LEARNING,
    difference,
    gptq,
    recipe,
    record,
    rotate,
    rotations,
    same_bytes,
    spin,
    text,
)


def test_scales_alone_can_be_learned(source, tmp_path):
    """With no rotation to learn, the rest is: R2 is drawn, and scales are found."""
    steps = recipe(tmp_path / "recipe.json", spin(rotations=["R2"], learning=HARD | {"rotations": []}))
    done = rotate(source(), tmp_path / "out", steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert set(record(tmp_path / "out")["held_out"]) == {"kl_divergence_with_scales"}


BAD = {
    "no text": (spin(), None, "SpinQuantModifier: learnable: true takes a text to learn from; give --calibration FILE"),
    "no text for seeds": (spin(learnable=False, seeds=2), None, "seeds takes a text to choose one by"),
    "one window": (spin(), CONTEXT + 5, f"has {CONTEXT + 5} tokens, and learning takes two windows of 32 at least"),
    "less than a window": (spin(), 7, "has 7 tokens, and learning takes two windows of 32 at least"),
    "nothing": (spin(), 0, "has 0 tokens"),
    "R1 not there": (spin(rotations=["R2"]), 256, "learning.rotations: has R1, which is not among the rotations"),
    "objective": (spin(learning=LEARNING | {"objective": "pso"}), 256, "objective: 'pso' is unknown; did you mean"),
    "rotation": (spin(learning=LEARNING | {"rotations": ["R3"]}), 256, "'R3' is nothing that can be learned"),
    "steps": (spin(learning=LEARNING | {"steps": 0}), 256, "steps must be at least 1"),
    "token": (spin(), [3, 72000] * 200, "vocabulary's size 72"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_learned_is_refused(source, tmp_path, name):
    step, tokens, problem = BAD[name]
    options = ["--recipe", recipe(tmp_path / "recipe.json", step)]
    if tokens is not None:
        tokens = [3 + i % 60 for i in range(tokens)] if isinstance(tokens, int) else tokens
        options += ["--calibration", text(tmp_path, tokens)]
    assert problem in refused("rotate", source(), tmp_path / "out", *options)
    assert not list(tmp_path.glob("out*"))


def test_a_window_less_is_a_warning(source, tmp_path):
    steps = recipe(tmp_path / "recipe.json", spin())
    ids = text(tmp_path, [3 + i * i % 67 for i in range(3 * CONTEXT)])
    done = rotate(source(), tmp_path / "out", steps, "--calibration", ids)
    assert done.returncode == 0, done.stderr
    assert "the text gives 3 windows of 32 tokens to learn on and judge by, not 8" in done.stderr


def test_the_command_line_refuses_before_it_works(source, tmp_path):
    model, data = source(), ["--calibration", text(tmp_path)]
    more = [*data, "--calibration-context", CONTEXT]
    assert "needs a text to learn from" in refused("learn", model, tmp_path / "file")
    assert "no such directory" in refused("learn", model, tmp_path / "no" / "file", *more)
    assert "no such directory" in refused("rotate", model, tmp_path / "no" / "out", "--learn", *more)
    assert "give --calibration FILE" in refused("rotate", model, tmp_path / "out", "--learn")
    file = tmp_path / "own.safetensors"
    save_file({"R1": torch.eye(64)}, file)
    for command in (["learn", model, tmp_path / "file"], ["rotate", model, tmp_path / "out", "--learn"]):
        assert "--rotation: gives what is to be learned" in refused(*command, "--rotation", file, *more)
    too_short = refused("rotate", model, tmp_path / "out", "--learn", *data)
    assert "has 256 tokens, and learning takes two windows of 512" in too_short
    (tmp_path / "there").mkdir()
    assert "exists" in refused("rotate", model, tmp_path / "there", "--learn", *more)
    steps = recipe(tmp_path / "recipe.json", ("SpinQuantModifier", {}))
    assert "has nothing that is learnable" in refused("learn", model, tmp_path / "file", "--recipe", steps, *more)
    assert not list(tmp_path.glob("*.learned.*")) and not (tmp_path / "file").exists()


def test_only_the_first_modifier_learns(source, tmp_path):
    first = ("QuantizationModifier", {"targets": "Linear", "ignore": ["lm_head"], "scheme": "W8A8"})
    steps = recipe(tmp_path / "recipe.json", first, spin())
    message = refused("quantize", source(), tmp_path / "out", "--recipe", steps, "--calibration", text(tmp_path))
    assert message == "SpinQuantModifier: is to learn, and is not the first modifier of the recipe; put it first"


def test_an_illegal_rotation_is_refused_before_any_work(source, tmp_path):
    model = source("gemma3")
    common = ["--calibration", text(tmp_path), "--calibration-context", CONTEXT]
    assert "R1 would change the model" in refused("rotate", model, tmp_path / "out", "--learn", *common)
    steps = recipe(tmp_path / "r.json", spin(rotations=["R2"], learning=HARD | {"rotations": ["R2"]}))
    done = rotate(model, tmp_path / "out", steps, *common)
    assert done.returncode == 0, done.stderr  # the legal rest can be learned
    assert difference(model, tmp_path / "out", torch.float32) <= BOUND[torch.float32]


def changed(model, directory, *changes):
    """A copy in which weights are multiplied by a factor."""
    shutil.copytree(model, directory)
    tensors = load_file(directory / "model.safetensors")
    for name, factor in changes:
        tensors[name].view(-1)[5:] *= factor
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def enlarged(layer):
    return [(f"model.layers.{layer}.mlp.{name}.weight", 1e25) for name in ("up_proj", "down_proj")]


NOT_FINITE = {
    "a weight": ([("model.layers.1.mlp.down_proj.weight", torch.nan)], "down_proj.weight: is not finite: nan at row 0"),
    "a norm": ([("model.norm.weight", torch.nan)], "model.norm.weight: contains NaN or infinity"),
    "activations": (enlarged(0), "model.layers.1.self_attn.q_proj: reads values that are not finite"),
    "logits": (enlarged(1), "its logits on the calibration text are not finite; look for the layer"),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_what_is_not_finite_is_named(source, tmp_path, name):
    changes, problem = NOT_FINITE[name]
    model = changed(source(), tmp_path / "model", *changes)
    steps = recipe(tmp_path / "recipe.json", spin())
    message = refused("rotate", model, tmp_path / "out", "--recipe", steps, "--calibration", text(tmp_path))
    assert problem in message and not list(tmp_path.glob("out*"))


def test_a_disk_that_is_full_when_the_file_is_written(source, tmp_path):
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD))
    common = ["--calibration", text(tmp_path), "--threads", 1]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    for command, out in (("learn", "file.safetensors"), ("rotate", "out")):
        message = refused(command, source(), tmp_path / out, "--recipe", steps, *common, preexec_fn=limit)
        assert "safetensors" in message and "size" in message.lower(), message
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.json", "tokens.json"}


# What a run has found by then, phase by phase; rows are a file where they are more than half of this memory.
FOUND = ["capture.statistics", "seed.{}", "R1.steps", "R1", "R2.0", "R2.1", "judge.start", "judge.R1"]
LITTLE = ["--calibration-memory", "0.1MB"]


def killed(command, when):
    process = subprocess.Popen(list(map(str, [BINARY, *command])))
    while process.poll() is None and not when():
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("rows", ["in memory", "in a file"])
def test_killed_in_every_phase_it_ends_with_the_same_bytes(source, tmp_path, rows):
    """While the model runs, while it learns, while it judges; and while it saves, when nothing is learned again."""
    model = source()
    learning = HARD | {"rotations": ["R1", "R2"], "activation_bits": 2, "kv_bits": 2}
    steps = recipe(tmp_path / "recipe.json", spin(seeds=2, seed=7, learning=learning), gptq())
    common = ["--recipe", steps, "--calibration", text(tmp_path), "--calibration-samples", 4,
              "--calibration-context", CONTEXT, "--threads", 1, "--quiet"]
    if rows == "in a file":
        common += LITTLE
    spinor("quantize", model, tmp_path / "whole", *common)
    assert record(tmp_path / "whole")["kept"]

    out, kept = tmp_path / "out", tmp_path / "out.partial.learned.safetensors"
    work, journal = tmp_path / "out.partial.learned.safetensors.partial", tmp_path / "out.partial" / "journal.jsonl"
    command = ["quantize", model, out, *common]
    for name in ["learning-job.json", "rows", *(f"{name.format(7)}.safetensors" for name in FOUND)]:
        if name != "rows" or rows == "in a file":
            killed(command, (work / name).exists)
    assert not kept.exists() and not out.exists()
    assert {path.name for path in work.iterdir()} >= {f"{name}.safetensors" for name in ("R1", "judge.R1")}
    assert (work / "rows").exists() == (rows == "in a file")
    killed(command, kept.exists)
    learned = kept.stat().st_mtime_ns
    killed(command, lambda: journal.exists() and len(journal.read_bytes().splitlines()) > 6)
    assert kept.stat().st_mtime_ns == learned and not out.exists()
    spinor(*command)
    for name in ("model.safetensors", "recipe.yaml", LEARNED, "calibration.json"):
        assert same_bytes(out, tmp_path / "whole", name), name
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize("objective", ["psot", "weights"])
def test_what_is_learned_is_the_same_from_rows_in_a_file(source, tmp_path, objective):
    """Also if it was killed; by the judge's last digits memory shows, as it cuts the text."""
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD | {"objective": objective}))
    common = ["--recipe", steps, "--calibration", text(tmp_path), "--threads", 1, "--quiet"]
    memory, file, whole = (tmp_path / f"{name}.safetensors" for name in ("memory", "file", "whole"))
    spinor("learn", source(), memory, *common)
    command = ["learn", source(), file, *common, *LITTLE]
    for _ in range(20):
        killed(command, (tmp_path / f"{file.name}.partial" / "R1.safetensors").exists)
        if not file.exists():
            break
        file.unlink()  # we were too slow to see it
    assert (tmp_path / f"{file.name}.partial" / "rows").exists()
    spinor(*command)
    spinor("learn", source(), whole, *common, *LITTLE)
    assert file.read_bytes() == whole.read_bytes()
    one, other = load_file(memory), load_file(file)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert {path.name for path in tmp_path.glob("*.safetensors*")} == {memory.name, file.name, whole.name}


def test_two_runs_of_a_job_keep_apart(source, tmp_path):
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD))
    common = ["--recipe", steps, "--calibration", text(tmp_path), "--threads", 1, "--quiet"]
    for command, out in (("learn", "file"), ("rotate", "out.partial.learned.safetensors")):
        work = tmp_path / f"{out}.partial"
        arguments = [command, source(), tmp_path / out.split(".")[0], *common]
        first = subprocess.Popen(list(map(str, [BINARY, *arguments])))
        while first.poll() is None and not (work / "learning-job.json").exists():
            time.sleep(0.0005)
        first.send_signal(signal.SIGSTOP)
        message = refused(*arguments)
        first.send_signal(signal.SIGCONT)
        assert message.startswith(f"{work}: another run (process {first.pid}) is writing it; wait for it")
        assert first.wait() == 0
    (tmp_path / "other.partial").mkdir()
    lock = os.open(tmp_path / "other.partial", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    message = refused("rotate", source(), tmp_path / "other", *common)
    os.close(lock)
    assert message.startswith(f"{tmp_path}/other.partial: another run is writing it; wait for it")
    assert {path.name for path in tmp_path.glob("other*")} == {"other.partial"}


def test_a_disk_that_is_full_when_rows_are_written(source, tmp_path, mount):
    directory = mount("size=100k")
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD))
    common = ["--recipe", steps, "--calibration", text(tmp_path), "--threads", 1, *LITTLE]
    for command in ("learn", "rotate"):
        message = refused(command, source(), directory / "out", *common)
        assert "/rows: cannot reserve 131.07 KB, " in message and "free some space" in message, message
        assert not list(directory.iterdir())


def test_a_directory_of_the_user_is_not_taken_for_one_of_ours(source, tmp_path):
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD))
    (tmp_path / "file.partial").mkdir()
    (tmp_path / "file.partial" / "precious").write_text("old")
    message = refused("learn", source(), tmp_path / "file", "--recipe", steps, "--calibration", text(tmp_path))
    assert message.startswith(f"{tmp_path}/file.partial: is in the way, and no run that learns has made it; move it")
    assert (tmp_path / "file.partial" / "precious").read_text() == "old"


def test_another_job_learns_anew(source, tmp_path):
    """What an earlier job left beside OUT is of its recipe, its text and its model alone."""
    out = tmp_path / "out"
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD))
    common = ["--recipe", steps, "--calibration", text(tmp_path), "--threads", 1, "--quiet"]
    spinor("rotate", source(), out, *common)
    shutil.copy(out / LEARNED, tmp_path / "out.partial.learned.safetensors")
    shutil.rmtree(out)
    recipe(steps, spin(learning=HARD | {"seed": 4}))
    spinor("rotate", source(), out, *common)
    assert record(out)["seed"] == 4


def test_a_model_in_a_directory_whose_name_is_not_utf_8(source, tmp_path):
    model = os.fsencode(tmp_path) + b"/m\xff"
    shutil.copytree(source(), os.fsdecode(model))
    steps = recipe(tmp_path / "recipe.json", spin(learning=HARD))
    options = ["--recipe", steps, "--calibration", text(tmp_path), "--quiet"]
    done = subprocess.run([BINARY, "rotate", model, *options, tmp_path / "out"], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["held_out"]


def test_files_of_the_user_stay(source, tmp_path):
    """Also one that is called as a part of another's work once was, and OUT may end in a slash."""
    common = ["--calibration", text(tmp_path), "--threads", 1, "--quiet"]
    own, steps = tmp_path / "out.learned.safetensors", recipe(tmp_path / "recipe.json", spin(learning=HARD))
    spinor("learn", source(), own, "--recipe", steps, *common)
    spinor("rotate", source(), tmp_path / "out", "--rotation", own, "--quiet")
    spinor("rotate", source(), f"{tmp_path}/slash/", "--recipe", steps, *common)
    assert {path.name for path in tmp_path.iterdir()} == {"tokens.json", "recipe.json", "out", "slash", own.name}
    assert (tmp_path / "slash" / LEARNED).exists()


def test_a_file_that_is_no_file_of_rotations_is_replaced_by_force(source, tmp_path):
    steps, file = recipe(tmp_path / "recipe.json", spin(learning=HARD)), tmp_path / "file"
    file.write_text("not safetensors")
    common = ["--recipe", steps, "--calibration", text(tmp_path), "--threads", 1]
    assert "exists" in refused("learn", source(), file, *common)
    spinor("learn", source(), file, *common, "--force")
    assert "R1" in rotations(file)


def test_a_seed_alone_is_chosen_by_the_command(source, tmp_path):
    steps = recipe(tmp_path / "recipe.json", spin(learnable=False, seeds=3))
    said = spinor("learn", source(), tmp_path / "file", "--recipe", steps, "--calibration", text(tmp_path))
    assert "the best of 3" in said


def test_requires_grad_names_what_is_learned(source, tmp_path):
    """R2 alone, of a transform_config as compressed-tensors has it."""
    spinor("rotate", source(), tmp_path / "plain", "--rotations", "R1,R2", "--transform-type", "random-hadamard")
    made = (tmp_path / "plain" / "recipe.yaml").read_text()
    config = yaml.safe_load(made)["default_stage"]["default_modifiers"]["SpinQuantModifier"]
    config["transform_config"]["config_groups"]["R2"]["requires_grad"] = True
    steps = recipe(tmp_path / "recipe.json", ("SpinQuantModifier", config | {"learning": HARD}))
    done = rotate(source(), tmp_path / "out", steps, "--calibration", text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["rotations"] == ["R2"]
