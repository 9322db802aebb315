"""What can happen to one of several processes that write one output: killed, silent, absent, with other options, out of
space, of an older attempt. The others end with an error that says so, nothing is at OUT, and a later run goes on."""

import os
import resource
import shutil
import signal
import subprocess
import time

import pytest

from command import BINARY, refused, spinor
from ranks import (  # noqa: F401
    TRIES, arguments_of, contents, finish, medium, models, partial, start, wait_for_journals,
)


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
