"""Every command that README.md and docs/ show in an sh block works, and every python block.

A block is run line by line, all of a page in one scratch directory. `spinor` is the binary under test, on a tiny model
wherever the page names one that is not there, Abc-1B being one of an architecture that spinor does not know, Odd-1B one
that brings its code; `make` and
examples are checked to be there; a yaml block becomes recipe.yaml, or the file that its first line names; text.txt, a
longer train.txt, tokens.json and own.safetensors, with rotations for that model, are there.
"""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import safetensors.torch
import tokenizers
import torch

import odd_model
import tiny_models
from architecture_test import save_abc
from command import BINARY, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|yaml|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = {"git", "cd", "cmake", "ctest", "pip", "sudo", "apt-get"}  # other tests build, install and test


def steps(text):
    """("yaml", file), ("python", code) or ("sh", command), in the order of the page."""
    for language, block in BLOCK.findall(text):
        if language != "sh":
            yield language, block
            continue
        for line in block.replace("\\\n", " ").splitlines():
            line = line.removeprefix("$ ").split(" #")[0].strip()
            if line and not line.startswith("#"):
                yield language, line


TEXT = "The lighthouse keeper climbed the stairs every evening at the same hour, and wrote down the wind. " * 8


def save_model(directory):
    """A tiny Llama, and a byte-level tokenizer of as many tokens."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    model = tiny_models.make("llama", "power_of_two", torch.bfloat16, vocab_size=300)
    model.save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))


def save_rotations(path):
    """For a hidden size of 64 and heads of 16."""
    sizes = {"R1": 64, "R2": 16}
    matrices = {name: torch.linalg.qr(torch.randn(n, n).double())[0].contiguous() for name, n in sizes.items()}
    safetensors.torch.save_file(matrices, path)


def run_python(code, scratch, monkeypatch, names):
    """All blocks of a page share their names."""
    pytest.importorskip("spinor")
    if not (scratch / "MODEL").exists():
        save_model(scratch / "MODEL")
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(BINARY.with_name("spinor-torch")))
    monkeypatch.chdir(scratch)
    exec(code, names)


os.environ.setdefault("SPINOR_PYTHON", sys.executable)  # what discovers rows


def make_model(scratch, model):
    if model.name == "Odd-1B":
        odd_model.make(model, dtype=torch.float32)
    elif model.name == "Abc-1B":
        save_abc(scratch / "llama", model)
    else:
        save_model(model)


def run_spinor(command, words, scratch):
    model = scratch / words[2] if len(words) > 2 and not words[2].startswith("-") else None
    if model and not model.exists():
        make_model(scratch, model)
    environment = {**os.environ, "PATH": f"{scratch / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command.replace("build/spinor", "spinor"),
        shell=True,
        cwd=scratch,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: page.name)
def test_commands_work(page, tmp_path, monkeypatch):
    names = {}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "spinor").symlink_to(BINARY)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "train.txt").write_text(TEXT * 4)
    (tmp_path / "tokens.json").write_text(json.dumps([3 + i * i % 67 for i in range(200)]))
    save_rotations(tmp_path / "own.safetensors")
    for language, text in steps(page.read_text()):
        if language == "yaml":
            named = re.match(r"# ([\w.]+\.yaml)\n", text)
            (tmp_path / (named.group(1) if named else "recipe.yaml")).write_text(text)
            continue
        if language == "python":
            run_python(text, tmp_path, monkeypatch, names)
            continue
        words = shlex.split(text)
        if words[0] in ("spinor", "build/spinor"):
            run_spinor(text, words, tmp_path)
        elif words[0] == "make":
            subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        elif words[0].startswith("build/release/examples/"):  # examples_test.py runs it
            assert (ROOT / "examples" / words[0].rpartition("/")[2]).with_suffix(".cpp").exists()
        else:
            assert words[0] in NOT_RUN, f"{page.name}: no test can run {text!r}"


CODE = re.compile(r"^```cpp\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_code_is_that_of_programs_that_are_tested():
    programs = [path.read_text() for path in sorted((ROOT / "examples").glob("*.cpp"))]
    for page in PAGES:
        for block in CODE.findall(page.read_text()):
            assert any(block in program for program in programs), f"{page.name}:\n{block}"
