"""What can happen to a running `rotate` or `quantize`: killed, started twice, another job's leftovers, a full or
read-only disk.

There is never half an OUT.
"""

import dataclasses
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command import BINARY, ROOT, refused, run, spinor

sys.path.insert(0, str(ROOT / "benchmarks"))
import make_checkpoint  # noqa: E402

OPTIONS = ["--transform-type", "random-hadamard", "--max-shard-size", "40MB", "--quiet"]
# W8A8 has weights that are observed before they are written, and some that are not.
COMMANDS = {"rotate": OPTIONS, "quantize": [*OPTIONS, "--rotations", "R1,R2", "--scheme", "W8A8"]}


@dataclasses.dataclass
class Job:
    """A command, and what it makes when nothing disturbs it: digests of the files, in so many seconds."""

    name: str
    model: Path
    digests: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0

    def arguments(self, out, *more):
        return [self.name, self.model, out, *COMMANDS[self.name], *more]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Large enough that a rotation can be caught in the middle: 240 MB in several shards."""
    directory = tmp_path_factory.mktemp("medium") / "model"
    return make_checkpoint.make("llama-1b", directory, layers=1, vocabulary=4096 * 7, max_shard_bytes=10**8)


def digests(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


@pytest.fixture(scope="module", params=COMMANDS)
def job(request, model, tmp_path_factory):
    made = Job(request.param, model)
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    start = time.perf_counter()
    spinor(*made.arguments(out))
    made.seconds = time.perf_counter() - start
    made.digests = digests(out)
    shutil.rmtree(out)
    return made


def start(job, out, *more):
    return subprocess.Popen([BINARY, *job.arguments(out, *more)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def partial(out):
    return out.with_name(out.name + ".partial")


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def interrupted(job, out, seconds, *more):
    """Leaves OUT.partial of a run that was killed after some seconds of work. False if it was faster."""
    process = start(job, out, *more)
    wait_for(partial(out), process)
    time.sleep(seconds)
    kill(process)
    return partial(out).exists()


def leave_a_part(job, out, part):
    """OUT.partial of a run that was killed after that part of its time, or sooner if this one is faster."""
    while not interrupted(job, out, part * job.seconds):
        shutil.rmtree(out)
        part /= 2


def test_a_killed_run_leaves_nothing_and_resumes_to_the_same_bytes(job, tmp_path):
    draw = random.Random(20240527)
    out = tmp_path / "out"
    moments = 0
    while moments < 8:
        if interrupted(job, out, draw.uniform(0, job.seconds)):
            assert not out.exists()
            moments += 1
        else:
            shutil.rmtree(out)
    spinor(*job.arguments(out))
    assert digests(out) == job.digests
    assert not partial(out).exists()


def test_every_interruption_alone_resumes_to_the_same_bytes(job, tmp_path):
    for part in (0.05, 0.3, 0.6):
        out = tmp_path / f"out-{part}"
        interrupted(job, out, part * job.seconds)
        if not out.exists():
            spinor(*job.arguments(out))
        assert digests(out) == job.digests
        shutil.rmtree(out)


def test_a_corrupted_leftover_is_not_trusted(job, tmp_path):
    out = tmp_path / "out"
    leave_a_part(job, out, 0.5)
    for shard in partial(out).glob("*.safetensors"):
        with open(shard, "r+b") as file:
            file.seek(os.path.getsize(shard) // 2)
            file.write(b"\x12\x34" * 2048)
    spinor(*job.arguments(out))
    assert digests(out) == job.digests


def test_other_options_refuse_the_leftover_and_say_how_to_discard_it(job, tmp_path):
    out = tmp_path / "out"
    leave_a_part(job, out, 0.2)
    message = refused(*job.arguments(out), "--seed", "3")
    assert "out.partial" in message and "seed" in message and "--discard-partial" in message
    assert partial(out).exists() and not out.exists()
    spinor(*job.arguments(out), "--seed", "3", "--discard-partial")
    assert digests(out) != job.digests and not partial(out).exists()


def test_a_changed_source_refuses_the_leftover(job, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(job.model, source)
    changed = dataclasses.replace(job, model=source)
    leave_a_part(changed, out, 0.2)
    with open(sorted(source.glob("*.safetensors"))[0], "r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x00\x00")
    message = refused(*changed.arguments(out))
    assert "out.partial" in message and "--discard-partial" in message
    assert not out.exists()


def test_two_runs_lock_each_other_out(job, tmp_path):
    out = tmp_path / "out"
    first = start(job, out)
    wait_for(partial(out), first)
    time.sleep(0.05)
    first.send_signal(signal.SIGSTOP)
    try:
        assert "out.partial" in refused(*job.arguments(out))
        assert "out.partial" in refused(*job.arguments(out), "--discard-partial")
    finally:
        first.send_signal(signal.SIGCONT)
    assert first.wait() == 0, first.stderr.read()
    assert digests(out) == job.digests


def test_out_must_not_be_the_model_or_inside_it(job, tmp_path):
    before = digests(job.model)
    link = tmp_path / "link"
    link.symlink_to(job.model)
    for out in (job.model, job.model / "sub" / "..", job.model / "out", link):
        refused(*job.arguments(out))
        refused(*job.arguments(out), "--force")
    assert digests(job.model) == before


def test_an_existing_out_is_kept_until_its_replacement_is_complete(job, tmp_path):
    out = tmp_path / "out"
    spinor(*job.arguments(out), "--seed", "3")
    earlier = digests(out)
    assert "--force" in refused(*job.arguments(out))
    assert interrupted(job, out, 0.3 * job.seconds, "--force")
    assert digests(out) == earlier
    spinor(*job.arguments(out), "--force")
    assert digests(out) == job.digests
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_does_not_replace_what_is_not_a_checkpoint(job, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("old")
    assert "not a checkpoint" in refused(*job.arguments(out), "--force")
    assert (out / "precious").read_text() == "old"


def test_a_file_size_limit_is_an_error_not_a_crash(job, tmp_path):
    out = tmp_path / "out"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, 10**7))
    message = refused(*job.arguments(out), preexec_fn=limit)
    assert "model-00001-of-" in message
    assert not out.exists()


@pytest.fixture
def mount(tmp_path):
    """Mounts a small tmpfs with the options given; skips where that is not allowed."""
    mounted = []

    def mounter(options):
        directory = tmp_path / "mounted"
        directory.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "spinor-test", directory], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"mounting needs root: {done.stderr.strip()}")
        mounted.append(directory)
        return directory

    yield mounter
    for directory in mounted:
        subprocess.run(["umount", "--lazy", directory], check=True)


def test_a_full_disk_is_an_error_and_leaves_no_out(job, mount):
    directory = mount("size=64m")
    message = refused(*job.arguments(directory / "out"))
    assert "space" in message.lower(), message
    assert not (directory / "out").exists()


def test_a_read_only_disk_is_an_error(job, mount):
    directory = mount("size=64m,ro")
    message = refused(*job.arguments(directory / "out"))
    assert "read-only" in message.lower(), message


def test_the_number_of_threads_does_not_change_a_byte(job, tmp_path):
    for threads in (1, 2, 3):
        out = tmp_path / "out"
        spinor(*job.arguments(out), "--threads", threads)
        assert digests(out) == job.digests, f"{threads} threads"
        shutil.rmtree(out)


def test_the_number_of_threads_does_not_change_dense_products(tiny, tmp_path):
    source, _ = tiny("qwen2", "wide_heads", torch.float32)
    found = set()
    for threads in (1, 2, 3):
        out = tmp_path / f"out-{threads}"
        spinor("rotate", source, out, "--transform-type", "random-orthogonal", "--threads", threads)
        found.add(tuple(digests(out).items()))
    assert len(found) == 1


def test_cpu_levels_agree_to_rounding(tiny, tmp_path):
    source, _ = tiny("llama", "power_of_two", torch.float32)
    outputs = {}
    for level in ("baseline", "avx2", "avx512", "neon"):
        out = tmp_path / level
        done = run("rotate", source, out, *OPTIONS, env={**os.environ, "SPINOR_CPU": level})
        if done.returncode == 0:
            outputs[level] = {
                name: tensor for shard in out.glob("*.safetensors") for name, tensor in load_file(shard).items()
            }
        else:
            assert "SPINOR_CPU" in done.stderr and level in done.stderr, done.stderr
    assert "baseline" in outputs
    for tensors in outputs.values():
        for name, tensor in outputs["baseline"].items():
            # Computed in float64 and rounded once: another order of sums can flip the last bit.
            torch.testing.assert_close(tensors[name], tensor, rtol=2**-23, atol=2**-126)
