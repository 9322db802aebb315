"""Runs the spinor binary under test: $SPINOR, or build/spinor."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("SPINOR", ROOT / "build" / "spinor")).resolve()


def run(*arguments, **options):
    """Whatever happens: the finished process, with its output as text."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=600, **options)


def spinor(*arguments, **options):
    """Must succeed: its standard output."""
    done = run(*arguments, **options)
    assert done.returncode == 0, f"spinor {' '.join(map(str, arguments))}\n{done.stderr}{done.stdout}"
    return done.stdout


def spinor_json(*arguments, **options):
    return json.loads(spinor(*arguments, "--json", **options))


def refused(*arguments, **options):
    """Must fail as every command fails, with status 1 and one line on stderr: that line without "error: "."""
    done = run(*arguments, **options)
    lines = done.stderr.splitlines()
    assert done.returncode == 1, f"status {done.returncode}\n{done.stderr}{done.stdout}"
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0].removeprefix("error: ")
