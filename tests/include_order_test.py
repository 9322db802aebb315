"""Who may include whom: the DEPENDS lists of CMakeLists.txt are the only statement, and every #include obeys them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE = re.compile(r"^\s*spinor_module\((\w+)(?:\s+DEPENDS\s+((?:(?!LINK\b)\w+\s*)*))?", re.MULTILINE)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def depends():
    text = (ROOT / "CMakeLists.txt").read_text()
    return {name: set((listed or "").split()) for name, listed in MODULE.findall(text)}


def includes():
    for source in sorted((ROOT / "spinor").glob("*/**/*")):  # not spinor.h, the umbrella over all folders
        if source.suffix in (".h", ".cpp", ".inc"):
            for included in INCLUDE.findall(source.read_text()):
                yield source.relative_to(ROOT), included


def test_every_folder_is_a_module():
    folders = {path.name for path in (ROOT / "spinor").iterdir() if path.is_dir()}
    assert folders == set(depends())


def test_every_include_is_spelled_from_the_root_and_exists():
    wrong = [f"{source}: {name}" for source, name in includes() if not (ROOT / name).is_file()]
    assert not wrong


def test_folders_include_only_what_they_depend_on():
    allowed = depends()
    wrong = []
    for source, name in includes():
        folder, target = source.parts[1], Path(name).parts[1]
        if name.startswith("tests/"):  # what tests share; they may use every folder below their own
            assert source.stem.endswith("_test") or source.name == "testing.h", f"{source}: {name}"
            continue
        if target != folder and target not in allowed[folder]:
            wrong.append(f"{source}: {name}")
    assert not wrong


def test_modules_depend_only_on_modules_above_them():
    seen = set()
    for name, listed in depends().items():
        assert listed <= seen, f"{name} depends on modules that come later: {listed - seen}"
        seen.add(name)
