"""Several processes write one output: started by a launcher, by variables alone, or by hand, one after the other. The
bytes are those of one process; whatever happens to one of them, the others end with an error that says so, and a later
run goes on."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch

import tiny_models
from command import BINARY, ROOT, refused, run, spinor, spinor_json

sys.path.insert(0, str(ROOT / "benchmarks"))
import make_checkpoint  # noqa: E402

# Of a launcher, as far as it names its processes: {name: (variables of a rank, of all ranks, of the attempt)}.
LAUNCHERS = {
    "variables": ("RANK", "WORLD_SIZE", {}),
    "torchrun": ("RANK", "WORLD_SIZE", {"TORCHELASTIC_RUN_ID": "7", "TORCHELASTIC_RESTART_COUNT": "0"}),
    "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", {"PMIX_NAMESPACE": "7"}),
    "mpiexec": ("PMI_RANK", "PMI_SIZE", {}),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}),
}
COMMANDS = {
    "rotate": ["rotate", "--max-shard-size", "40KB"],
    "w8a8": ["quantize", "--rotations", "R1,R2", "--scheme", "W8A8"],
    # Linears that vLLM fuses share a scale; R4 and QuIP's matrices are tensors of their own.
    "nvfp4": ["quantize", "--rotations", "R1,R4", "--scheme", "NVFP4A16", "--ignore", "lm_head,re:.*down_proj"],
    "quip": ["quantize", "--quip", "v,u", "--scheme", "FP8_DYNAMIC"],
}
MODELS = {"llama": ("llama", "power_of_two"), "experts": ("qwen3_moe", None)}


def environment(rank, ranks, launcher="variables", **more):
    named, all_of_them, attempt = LAUNCHERS[launcher]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "OMPI_", "PMI"))}
    return {**clean, named: str(rank), all_of_them: str(ranks), **attempt, **more}


def start(rank, ranks, *arguments, launcher="variables", variables=None, **options):
    return subprocess.Popen(
        [BINARY, *map(str, arguments), "--quiet", "--threads", "1"],
        env=environment(rank, ranks, launcher, **(variables or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(processes, timeout=120):
    """[(status, what it said on stderr)]."""
    said = [process.communicate(timeout=timeout)[1].strip() for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said)]


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def partial(out):
    return out.with_name(out.name + ".partial")


TRIES = 5  # of what ranks may be too fast for, where the machine has other work


def wait_for_journals(out, count):
    while len(list(partial(out).glob("journal-*.jsonl"))) < count and not out.exists():
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name, (family, case) in MODELS.items():
        case = case or next(iter(tiny_models.MORE_FAMILIES[family][1]))
        tiny_models.make(family, case, dtype=torch.bfloat16).save_pretrained(root / name)
    return {name: root / name for name in MODELS}


@pytest.fixture(scope="module")
def medium(tmp_path_factory):
    """Large enough to be caught in the middle: 240 MB; and what one process makes of it."""
    root = tmp_path_factory.mktemp("medium")
    model = make_checkpoint.make("llama-1b", root / "model", layers=1, vocabulary=4096 * 7, max_shard_bytes=10**8)
    spinor("rotate", model, root / "alone", "--max-shard-size", "40MB")
    return model, contents(root / "alone")


def arguments_of(medium, out):
    return ["rotate", medium[0], out, "--max-shard-size", "40MB"]


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


def interrupted(medium, out, victim, moment):
    """Two ranks, one of which is killed so many seconds after both have begun: how they ended."""
    ranks = [start(rank, 2, *arguments_of(medium, out)) for rank in range(2)]
    wait_for_journals(out, 2)
    time.sleep(moment)
    ranks[victim].send_signal(signal.SIGKILL)
    return finish(ranks)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_is_named_and_any_number_goes_on(medium, tmp_path, victim):
    """From the first block to the last, in which the rank waits for the other or completes the output."""
    killed = 0
    for step in range(8):
        out = tmp_path / f"out-{step}"
        ended = interrupted(medium, out, victim, 0.03 * step)
        if out.exists():  # it was faster
            assert contents(out) == medium[1]
        else:
            killed += 1
            assert ended[victim][0] == -signal.SIGKILL
            status, said = ended[1 - victim]
            assert status == 1 and f"error: rank {victim} of 2: died (process" in said
            ranks = 1 + step % 3
            again = finish([start(rank, ranks, *arguments_of(medium, out)) for rank in range(ranks)])
            assert again == [(0, "")] * ranks
            assert contents(out) == medium[1]
        shutil.rmtree(out)
    assert killed >= 2


def test_one_process_goes_on_from_ranks_and_ranks_from_one(medium, tmp_path):
    for attempt in range(TRIES):
        out = tmp_path / f"out-{attempt}"
        spinor(*arguments_of(medium, out), "--rank", "1", "--ranks", "3")
        one = subprocess.Popen([BINARY, *map(str, arguments_of(medium, out)), "--threads", "1"])
        while not (partial(out) / "journal.jsonl").exists() and one.poll() is None:
            time.sleep(0.001)
        one.kill()
        one.wait()
        if not out.exists():
            break
    spinor(*arguments_of(medium, out), "--rank", "1", "--ranks", "2")
    said = spinor(*arguments_of(medium, out), "--rank", "0", "--ranks", "2")
    assert "kept from an earlier run" in said
    assert contents(out) == medium[1]


def test_what_a_killed_rank_left_is_not_trusted(medium, tmp_path):
    out = tmp_path / "out"
    spinor(*arguments_of(medium, out), "--rank", "0", "--ranks", "2")
    for shard in (partial(out) / "files").glob("*.safetensors"):
        with open(shard, "r+b") as file:
            file.seek(os.path.getsize(shard) // 2)
            file.write(b"\x12\x34" * 2048)
    for rank in range(3):
        spinor(*arguments_of(medium, out), "--rank", rank, "--ranks", 3)
    assert contents(out) == medium[1]


def test_a_rank_that_does_not_appear_is_named(models, tmp_path):
    began = time.monotonic()
    ((status, said),) = finish([start(0, 2, "rotate", models["llama"], tmp_path / "out", "--rank-timeout", "1")])
    assert status == 1 and "rank 1 of 2: has not appeared in 1 s" in said
    assert time.monotonic() - began < 60
    assert not (tmp_path / "out").exists()


def test_a_rank_that_is_silent_is_named(medium, tmp_path):
    for attempt in range(TRIES):
        out = tmp_path / f"out-{attempt}"
        ranks = [start(rank, 2, *arguments_of(medium, out), "--rank-timeout", "2") for rank in range(2)]
        wait_for_journals(out, 2)
        ranks[1].send_signal(signal.SIGSTOP)
        ((status, said),) = finish(ranks[:1])
        ranks[1].send_signal(signal.SIGCONT)
        if status:
            break
        finish(ranks[1:])  # it was faster
    assert status == 1 and "rank 1 of 2: has not been heard of for 2 s" in said
    assert finish(ranks[1:])[0][0] == 1
    assert not out.exists()


@pytest.mark.parametrize("launcher", ["variables", "torchrun"])
def test_other_options_end_all_ranks(medium, tmp_path, launcher):
    out = tmp_path / "out"
    command = arguments_of(medium, out)
    ranks = [start(0, 2, *command, launcher=launcher), start(1, 2, *command, "--seed", "5", launcher=launcher)]
    ended = finish(ranks)
    assert [status for status, _ in ended] == [1, 1]
    reasons = "record.recipe", "give all ranks the same model, options and program"
    assert any(all(reason in said for reason in reasons) for _, said in ended)
    assert all("rank " in said or "record.recipe" in said for _, said in ended)
    assert not out.exists()


def test_a_rank_without_the_model_ends_all(medium, tmp_path):
    out = tmp_path / "out"
    command = arguments_of(medium, out)
    ranks = [start(0, 2, *command), start(1, 2, "rotate", tmp_path / "nothing", out, "--max-shard-size", "40MB")]
    (status, said), (other, _) = finish(ranks)
    assert (status, other) == (1, 1)
    assert "rank 1 of 2: failed (process" in said and "nothing" in said


def test_by_hand_other_options_refuse_only_who_has_them(models, tmp_path):
    out = tmp_path / "out"
    spinor("rotate", models["llama"], out, "--rank", "0", "--ranks", "2")
    assert "record.recipe" in refused("rotate", models["llama"], out, "--seed", "5", "--rank", "1", "--ranks", "2")
    spinor("rotate", models["llama"], out, "--rank", "1", "--ranks", "2")
    assert out.exists()


def test_a_failure_is_a_note_until_that_rank_has_run(medium, tmp_path):
    out = tmp_path / "out"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, 10**7))
    failed = refused(*arguments_of(medium, out), "--rank", "1", "--ranks", "3", preexec_fn=limit)
    note = refused(*arguments_of(medium, out), "--rank", "0", "--ranks", "3")
    assert note.startswith("rank 1 of 3: failed (process") and failed in note and "start it again" in note
    for rank in (1, 0, 2):
        spinor(*arguments_of(medium, out), "--rank", rank, "--ranks", 3)
    assert contents(out) == medium[1]


def test_a_full_disk_of_one_ends_all(medium, tmp_path):
    out = tmp_path / "out"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, 10**7))
    ranks = [start(0, 2, *arguments_of(medium, out)), start(1, 2, *arguments_of(medium, out), preexec_fn=limit)]
    (status, said), (other, _) = finish(ranks)
    assert (status, other) == (1, 1)
    assert "rank 1 of 2: failed (process" in said and "file size limit" in said
    assert not out.exists()


@pytest.mark.parametrize("attempts", [("7", "8"), ("", "")])
def test_an_older_attempt_stops_when_a_newer_one_begins(medium, tmp_path, attempts):
    """Restarted by torchrun, or by hand while the older processes hang: the older ones write no more."""
    named = [{"TORCHELASTIC_RUN_ID": name} if name else {} for name in attempts]
    for attempt in range(TRIES):
        out = tmp_path / f"out-{attempt}"
        old = [start(rank, 2, *arguments_of(medium, out), variables=named[0]) for rank in range(2)]
        wait_for_journals(out, 2)
        for process in old:
            process.send_signal(signal.SIGSTOP)
        if not out.exists():
            break
        for process in old:  # they were faster
            process.send_signal(signal.SIGCONT)
        finish(old)
    new = [start(rank, 2, *arguments_of(medium, out), variables=named[1]) for rank in range(2)]
    wait_for_journals(out, 4)
    for process in new:
        process.send_signal(signal.SIGSTOP)
    for process in old:
        process.send_signal(signal.SIGCONT)
    ended = finish(old)
    for process in new:
        process.send_signal(signal.SIGCONT)
    assert [status for status, _ in ended] == [1, 1]
    assert all("a newer attempt has begun" in said for _, said in ended)
    assert finish(new) == [(0, "")] * 2
    assert contents(out) == medium[1]


def test_a_late_rank_of_an_older_attempt_is_refused(models, tmp_path):
    out = tmp_path / "out"
    command = ["rotate", models["llama"], out, "--rank-timeout", "1"]
    for name in ("7", "8"):
        finish([start(0, 2, *command, variables={"TORCHELASTIC_RUN_ID": name})])
    ((status, said),) = finish([start(1, 2, *command, variables={"TORCHELASTIC_RUN_ID": "7"})])
    assert status == 1 and "belongs to an attempt (7" in said


def test_a_run_alone_and_ranks_lock_each_other_out(medium, tmp_path):
    out = tmp_path / "out"
    rank = start(0, 2, *arguments_of(medium, out))
    while not list(partial(out).glob("journal-*")):
        time.sleep(0.001)
    assert "another run is writing it" in refused(*arguments_of(medium, out))
    rank.kill()
    finish([rank])
    shutil.rmtree(partial(out))


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
