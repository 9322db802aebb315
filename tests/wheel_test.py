"""make wheel: a wheel for old systems, with what it needs and the licences of that, works in an empty environment."""

import email
import re
import subprocess
import sys
import zipfile

import pytest
import torch

import tiny_models
from command import ROOT, spinor
from old_systems_test import NEWEST, imports, skip_on_new_systems, version

pytest.importorskip("auditwheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    skip_on_new_systems()
    directory = tmp_path_factory.mktemp("wheels")
    done = subprocess.run([sys.executable, ROOT / "tools" / "wheel.py", directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    (found,) = directory.glob("*.whl")
    return found


def test_what_a_build_lacks_is_one_error_with_what_installs_it(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(spinor LANGUAGES CXX)\n"
                                             f"include({ROOT}/cmake/dependencies.cmake)\n")
    without = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in ("fmt", "hwy", "PkgConfig")]
    done = subprocess.run(["cmake", "-S", tmp_path, "-B", tmp_path / "build", *without], capture_output=True, text=True)
    line = "sudo apt-get install libfmt-dev libhwy-dev pkg-config libpcre2-dev libutf8proc-dev libxxhash-dev"
    assert done.returncode == 1 and done.stderr.count("CMake Error") == 1 and line in done.stderr


def test_has_what_it_needs_and_says_whose_it_is(wheel, tmp_path):
    assert re.fullmatch(r"spinor_llm-[\d.]+-cp3\d+-(cp3\d+|abi3)-manylinux_2_34_x86_64\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as files:
        files.extractall(tmp_path)
        names = files.namelist()
    info = next(tmp_path.glob("*.dist-info"))
    metadata = email.message_from_string((info / "METADATA").read_text())
    assert metadata["Name"] == "spinor-llm"
    assert f"VERSION {metadata['Version']} " in (ROOT / "CMakeLists.txt").read_text()
    assert {"spinor/py.typed", "spinor/_core.pyi", "spinor/commands.py"} <= set(names)
    licences = " ".join(path.name for path in (info / "licenses").iterdir())
    vendored = [re.sub(r"-[0-9a-f]{8}\.so.*", "", path.name) for path in tmp_path.glob("*.libs/*.so*")]
    assert "libfmt" in vendored and all(name in licences for name in vendored)
    assert all(name in licences for name in ("LICENSE", "nanobind", "cli11", "nlohmann"))
    for library in tmp_path.rglob("*.so*"):
        asked = imports(library)
        assert asked
        assert not [symbol for symbol in asked if version(symbol[1]) > NEWEST[symbol[0]]], library


def test_works_in_an_empty_environment(wheel, tmp_path):
    model = tmp_path / "model"
    tiny_models.make("llama", "power_of_two", torch.bfloat16).save_pretrained(model)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    run = {"check": True, "capture_output": True, "text": True, "cwd": tmp_path, "env": {"PATH": "/usr/bin:/bin"}}
    subprocess.run([programs / "pip", "install", "--quiet", "--no-index", wheel], **run)
    code = "import spinor as s; s.rotate('model', 'out'); print(s.verify('model', 'out'), s.__version__, sep='\\n')"
    printed = subprocess.run([programs / "python", "-c", code], **run).stdout
    assert "out is the same function as model\n" in printed
    assert subprocess.run([programs / "spinor", "--version"], **run).stdout == printed.splitlines()[-1] + "\n"
    assert subprocess.run([programs / "spinor", "plan", "model"], **run).stdout == spinor("plan", model)
