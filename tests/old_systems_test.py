"""The programs and the Python module start on RHEL 9: what they ask of the C and C++ libraries is there."""

import platform
import re
import subprocess

import pytest

from command import BINARY

MODULE = "../python/spinor/_core*.so"
# What glibc and GCC's libraries of RHEL 9 have.
NEWEST = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)}
SYMBOL = re.compile(r"\*UND\*\s+[0-9a-f]+\s+\(?(GLIBC|GLIBCXX|CXXABI)_([0-9.]+)\)?\s+(.+)$")


def version(text):
    return tuple(int(part) for part in text.split("."))


def imports(program):
    table = subprocess.run(["objdump", "-T", "-C", program], check=True, capture_output=True, text=True).stdout
    return [found.groups() for found in map(SYMBOL.search, table.splitlines()) if found]


def skip_on_new_systems():
    libc = platform.libc_ver()
    if version(libc[1]) > (2, 36):
        pytest.skip(
            f"{' '.join(libc)} gives newer symbols whatever the source says; build on Debian 12 for old systems")


@pytest.mark.parametrize("name", ["spinor", "spinor-torch", MODULE])
def test_asks_for_no_symbol_that_rhel_9_has_not(name):
    program = next(BINARY.parent.glob(name), None)
    if not program:
        pytest.skip(f"{name} is not built")
    skip_on_new_systems()
    asked = imports(program)
    assert {library for library, _, _ in asked} >= {"GLIBC", "GLIBCXX"}, "objdump is read wrongly"
    assert not [symbol for symbol in asked if version(symbol[1]) > NEWEST[symbol[0]]]
