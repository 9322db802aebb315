"""How the source looks: clang-format decides it for C++, and no line anywhere is longer than 120."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 120
FOLDERS = ("spinor", "cli", "examples", "benchmarks", "demo", "tests", "python", "cmake", "tools", ".ci", ".github")
WRITTEN = {".h", ".cpp", ".py", ".cmake", ".sh", ".yml"}  # not tables and what the scripts in tests/golden made
NAMES = {"CMakeLists.txt", "Makefile", "run"}


def sources():
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")] + list(ROOT.iterdir())
    return sorted(path for path in files if path.suffix in WRITTEN or path.name in NAMES)


def test_no_line_is_too_long():
    wrong = [f"{path.relative_to(ROOT)}:{number}: {len(line)} characters" for path in sources()
             for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > WIDTH]
    assert not wrong, "\n".join(wrong)


def test_clang_format_would_change_nothing():
    formatter = shutil.which("clang-format-19")
    if not formatter:
        pytest.skip("no clang-format-19 (make lint installs it)")
    files = [path.relative_to(ROOT) for path in sources() if path.suffix in (".h", ".cpp")]
    shares = [files[part::os.cpu_count()] for part in range(os.cpu_count())]
    running = [subprocess.Popen([formatter, "--dry-run", *share], cwd=ROOT, stderr=subprocess.PIPE, text=True)
               for share in shares]
    said = [line for run in running for line in run.communicate()[1].splitlines()]
    assert not any(run.returncode for run in running), "\n".join(said)
    wrong = {line.rsplit(":", 3)[0] for line in said if "[-Wclang-format-violations]" in line}
    assert not wrong, "make format would change:\n" + "\n".join(sorted(wrong))
