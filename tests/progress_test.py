"""tools/progress.py: how far a build is, and all that it says."""

import os
import subprocess
import sys

from command import ROOT

SCRIPT = ROOT / "tools" / "progress.py"
# A ninja of twenty files, a second each; the seventh has a warning, and the build fails in the end.
NINJA = """
import os, sys
assert os.environ["NINJA_STATUS"] == "[%f/%t %e] "
for i in range(21):
    print(f"[{i}/20 {i}.004] Building x{i}.cpp")
    if i == 7:
        print("x7.cpp:3: warning: [unused]")
print("FAILED: x20.o")
sys.exit(3)
"""


def run(terminal):
    ours, theirs = os.openpty() if terminal else os.pipe()
    done = subprocess.run([sys.executable, SCRIPT, sys.executable, "-c", NINJA], stdout=theirs, timeout=60)
    os.close(theirs)
    printed = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 3
    return printed


def test_a_line_every_tenth_where_there_is_no_terminal():
    lines = run(terminal=False).splitlines()
    assert lines[:2] == ["  2 of 20 files, about 0:18 left", "  4 of 20 files, about 0:16 left"]
    assert lines[3] == "x7.cpp:3: warning: [unused]"
    assert lines[-2:] == ["  20 of 20 files, took 0:20", "FAILED: x20.o"]
    assert len(lines) == 12


def test_one_line_on_a_terminal_which_leaves_room_for_warnings():
    printed = run(terminal=True).replace("\r\n", "\n")
    assert "\r  7 of 20 files, about 0:13 left\033[K\r\033[Kx7.cpp:3: warning: [unused]\n\r  8 of 20" in printed
    assert printed.endswith("\r  20 of 20 files, took 0:20\033[K\r\033[KFAILED: x20.o\n")
