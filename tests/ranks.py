"""What tests of several processes share: launchers as far as they name processes, ranks started and ended, models."""

import os
import subprocess
import sys
import time

import pytest
import torch

import tiny_models
from command import BINARY, ROOT, spinor

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
