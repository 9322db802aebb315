"""Several processes write one output: started by a launcher, by variables alone, or by hand, one after the other. The
bytes are those of one process. They verify it in shares, and a plan says beforehand who does what."""

import os
import shutil
import subprocess
import sys

import pytest
import safetensors.torch

from command import BINARY, refused, run, spinor, spinor_json
from ranks import LAUNCHERS, MODELS, contents, environment, finish, models, partial, start  # noqa: F401

COMMANDS = {
    "rotate": ["rotate", "--max-shard-size", "40KB"],
    "w8a8": ["quantize", "--rotations", "R1,R2", "--scheme", "W8A8"],
    # Linears that vLLM fuses share a scale; R4 and QuIP's matrices are tensors of their own.
    "nvfp4": ["quantize", "--rotations", "R1,R4", "--scheme", "NVFP4A16", "--ignore", "lm_head,re:.*down_proj"],
    "quip": ["quantize", "--quip", "v,u", "--scheme", "FP8_DYNAMIC"],
}

@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("model", MODELS)
def test_the_bytes_are_those_of_one_process(models, tmp_path, model, command):
    name, *options = COMMANDS[command]
    spinor(name, models[model], tmp_path / "alone", *options)
    for ranks in (2, 3):
        out = tmp_path / str(ranks)
        ended = finish([start(rank, ranks, name, models[model], out, *options) for rank in range(ranks)])
        assert ended == [(0, "")] * ranks
        assert contents(out) == contents(tmp_path / "alone")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "alone"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_say_who_is_who(models, tmp_path, launcher):
    spinor("rotate", models["llama"], tmp_path / "alone")
    out = tmp_path / "out"
    assert finish([start(rank, 2, "rotate", models["llama"], out, launcher=launcher) for rank in range(2)]) == [
        (0, "")
    ] * 2
    assert contents(out) == contents(tmp_path / "alone")


def test_torchrun_starts_them(models, tmp_path):
    spinor("rotate", models["llama"], tmp_path / "alone")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    done = subprocess.run(
        [*torchrun, BINARY, "rotate", models["llama"], tmp_path / "out"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "rank 0 of 2: " in done.stdout and "rank 1 of 2: " in done.stdout
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_by_hand_whoever_is_last_completes_the_output(models, tmp_path):
    spinor("rotate", models["llama"], tmp_path / "alone")
    out = tmp_path / "out"
    command = ["rotate", models["llama"], out, "--ranks", "3", "--rank"]
    assert "the output is complete when ranks 0, 1 are done, too" in spinor(*command, 2)
    assert not out.exists()
    assert "when ranks 1 are done" in spinor(*command, 0)
    assert "when ranks 1 are done" in spinor(*command, 0)  # again: nothing is left to do
    assert spinor(*command, 1).count("\n") == 1
    assert contents(out) == contents(tmp_path / "alone")
    assert not partial(out).exists()
    assert "exists" in refused(*command, 1)


def test_a_batch_script_of_slurm_is_alone(models, tmp_path):
    inside = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}
    spinor("rotate", models["llama"], tmp_path / "out", env={**os.environ, **inside})
    spinor("rotate", models["llama"], tmp_path / "one", "--ranks", "1", env=environment(1, 2))


@pytest.mark.parametrize(
    "options, words",
    [
        (["--rank", "1"], "--rank: needs the number of ranks"),
        (["--ranks", "2"], "--ranks: needs the rank of this process"),
        (["--rank", "2", "--ranks", "2"], "--rank: 2 is not among 2 ranks"),
        (["--rank", "0", "--ranks", "2", "--discard-partial"], "cannot be discarded by one of several ranks"),
    ],
)
def test_what_a_rank_cannot_be(models, tmp_path, options, words):
    assert words in refused("rotate", models["llama"], tmp_path / "out", *options)
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def rotated(models, tmp_path_factory):
    out = tmp_path_factory.mktemp("rotated") / "out"
    spinor("rotate", models["experts"], out, "--dtype", "float32")
    return models["experts"], out


def verdicts(source, out, ranks=3):
    return [run("verify", source, out, "--rank", rank, "--ranks", ranks) for rank in range(ranks)]


def test_ranks_verify_shares_that_are_all_of_it(rotated):
    shares = [spinor_json("verify", *rotated, "--rank", rank, "--ranks", 3)["checks"] for rank in range(3)]
    names = [{tuple(check["tensors"]) for check in checks} for checks in shares]
    whole = {tuple(check["tensors"]) for check in spinor_json("verify", *rotated)["checks"]}
    assert set.union(*names) == whole
    assert set.intersection(*names) == {("config.json",), ("model.embed_tokens.weight",)}
    assert "rank 1 of 3: its share of" in spinor("verify", *rotated, "--rank", 1, "--ranks", 3)


def test_the_rank_that_has_a_wrong_tensor_says_so(rotated, tmp_path):
    source, right = rotated
    for name in ("model.layers.1.self_attn.q_proj.weight", "model.layers.0.mlp.experts.2.down_proj.weight"):
        out = tmp_path / name
        shutil.copytree(right, out)
        tensors = safetensors.torch.load_file(right / "model.safetensors")
        tensors[name] = tensors[name].flip(1 if "q_proj" in name else 0).contiguous()
        safetensors.torch.save_file(tensors, out / "model.safetensors", {"format": "pt"})
        failed = [done for done in verdicts(source, out) if done.returncode]
        assert len(failed) == 1 and name in failed[0].stderr


def test_shares_of_two_rotations_are_no_rotation(rotated, tmp_path):
    """Each rank's layers fit each other, and not the embedding that all look at."""
    source, right = rotated
    spinor("rotate", source, tmp_path / "other", "--dtype", "float32", "--seed", "9")
    mixed = safetensors.torch.load_file(right / "model.safetensors")
    other = safetensors.torch.load_file(tmp_path / "other" / "model.safetensors")
    mixed.update({name: tensor for name, tensor in other.items() if ".layers.1." in name})
    safetensors.torch.save_file(mixed, tmp_path / "other" / "model.safetensors", {"format": "pt"})
    assert any(done.returncode for done in verdicts(source, tmp_path / "other"))


def test_a_plan_says_what_each_rank_does(models):
    alone = spinor_json("plan", models["llama"])
    assert "ranks" not in alone
    planned = spinor_json("plan", models["llama"], "--ranks", "3", "--bandwidth", "1MB/s", "--throughput", "0.5MB/s")
    ranks = planned["ranks"]
    assert len(ranks) == 3 and sum(rank["written"] for rank in ranks) == alone["bytes"]
    assert [rank["seconds"] for rank in ranks] == [(rank["read"] + rank["written"]) / 5e5 for rank in ranks]
    assert "--bandwidth: 'fast' is not a rate" in refused("plan", models["llama"], "--bandwidth", "fast")
