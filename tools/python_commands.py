#!/usr/bin/env python3
"""python_commands.py PROGRAM: writes python/spinor/commands.py, and the table in docs/python.md, from the options that
`PROGRAM --options` lists. PROGRAM is spinor-torch, which has all commands."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "python" / "spinor" / "commands.py"
PAGE = ROOT / "docs" / "python.md"
WIDTH = 120
NOT_ARGUMENTS = {"--help", "--json", "--quiet"}  # a result is both, and progress=False is quiet
OTHER_NAMES = {"ROTATIONS": "out"}  # learn has an option of that name
TYPES = {"flag": "bool", "int": "int | None", "float": "float | None", "text": "Text"}
EXAMPLES = {
    "answer": 'spinor.answer("Llama-3.2-1B", "requests.json", scheme="W4A16").answers[0]["log_likelihood"]',
    "compare": 'spinor.compare("Llama-3.2-1B", text="wiki.txt", scheme="W4A16").rotate',
    "dequantize": 'spinor.dequantize("Llama-3.2-1B-w4a16", "Llama-3.2-1B-dense")',
    "discover": 'print(spinor.discover("NewModel-1B").row)',
    "eval": 'spinor.eval("Llama-3.2-1B", text="wiki.txt", context=2048).perplexity',
    "generate": 'spinor.generate("Llama-3.2-1B", prompt="The sea is", max_new_tokens=20).text',
    "inspect": 'print(spinor.inspect("Llama-3.2-1B"))',
    "learn": 'spinor.learn("Llama-3.2-1B", "r1.safetensors", calibration="train.txt")',
    "plan": 'spinor.plan("Llama-3.2-1B", scheme="W4A16").peak_memory',
    "quantize": 'spinor.quantize("Llama-3.2-1B", "Llama-3.2-1B-w4a16", scheme="W4A16", rotations=["R1", "R2"])',
    "rotate": 'spinor.rotate("Llama-3.2-1B", "Llama-3.2-1B-rotated")',
    "tokenize": 'spinor.tokenize("Llama-3.2-1B", text="wiki.txt").tokens',
    "verify": 'spinor.verify("Llama-3.2-1B", "Llama-3.2-1B-rotated")',
}
HEAD = '''"""A table: a function for each command, with its options. Made by tools/python_commands.py."""

# ruff: noqa: A001
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Union

from spinor._listener import Progress
from spinor._result import Result
from spinor._run import command, run

Path = Union[str, "os.PathLike[str]"]
Model = Any  # a Path, or a model of transformers
Text = Union[str, "os.PathLike[str]", None]
Texts = Union[str, Sequence[str], None]
Recipe = Union[str, "os.PathLike[str]", Mapping[str, Any], Sequence[Mapping[str, Any]], None]
'''


def argument_name(option):
    name = option["name"]
    if not name.startswith("--"):
        return OTHER_NAMES.get(name, name.lower())
    name = name[2:].replace("-", "_")
    return name + "_" if name == "for" else name


def arguments(command):
    """(name, option) of each, those that have to be given first."""
    options = [option for option in command["options"] if option["name"] not in NOT_ARGUMENTS]
    return [(argument_name(option), option)
            for option in sorted(options, key=lambda option: option["name"].startswith("--"))]


def declared(name, option):
    if not option["name"].startswith("--"):
        return f"{name}: {'Model' if name == 'model' else 'Path'}"
    kind = "Recipe" if name == "recipe" else "Texts" if option["list"] else TYPES[option["kind"]]
    if option["required"]:
        return f"{name}: {kind}"
    return f"{name}: {kind} = {'False' if kind == 'bool' else 'None'}"


def as_arguments(text):
    """What the command calls --group-size is group_size here."""
    return re.sub(r"--([a-z][a-z-]*)", lambda found: argument_name({"name": found.group()}), text)


def wrapped(text, indent, further=4):
    return textwrap.fill(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + further),
                         break_long_words=False, break_on_hyphens=False)


def described(name, option):
    default = f" (default {option['default']})" if option["default"] and option["kind"] != "flag" else ""
    more = "; or a model of transformers in memory, which is saved on disk meanwhile" if name == "model" else ""
    return wrapped(f"{name}: {as_arguments(option['help'])}{default}{more}", 4)


def function(name, command):
    rows = arguments(command)
    places = [argument for argument, option in rows if not option["name"].startswith("--")]
    signature = [declared(*row) for row in rows]
    signature.insert(len(places), "*")
    lines = ["", "", "@command", f"def {name}(", *(f"    {one}," for one in signature),
             "    progress: Progress = None,", ") -> Result:"]
    lines += [wrapped(f'"""{as_arguments(command["about"])}.', 4, 0), ""]
    lines += [described(*row) for row in rows]
    lines += ["    progress: A bar (needs tqdm): True or False; or a function of (what, done, all)", ""]
    lines += [f"    The result has what `spinor {name} --json` prints. Errors are spinor.Error.", ""]
    lines += [f"    Example: {EXAMPLES[name]}", '    """']
    named = ", ".join(json.dumps(place) for place in places) + ("," if len(places) == 1 else "")
    lines += [f"    return run({json.dumps(name)}, ({named}), locals())"]
    return "\n".join(lines) + "\n"


def module(commands):
    return HEAD + "".join(function(name, command) for name, command in commands.items())


def table(commands):
    """Every option, the argument that it is, and the commands that have it."""
    found = {}
    for name, command in commands.items():
        for argument, option in arguments(command):
            if option["name"].startswith("--"):
                found.setdefault((argument, option["name"]), []).append(name)
    lines = ["| argument | option | of |", "|---|---|---|"]
    lines += [f"| `{argument}` | `{option}` | {'all' if len(names) == len(commands) else ', '.join(names)} |"
              for (argument, option), names in found.items()]
    return "\n".join(lines) + "\n"


def page(commands, text):
    """The page with its table, which stands under the last heading."""
    head, _, _ = text.partition("| argument | option | of |\n")
    return head + table(commands)


def read_commands(program):
    return json.loads(subprocess.run([program, "--options"], check=True, capture_output=True, text=True).stdout)


def main():
    commands = read_commands(sys.argv[1])
    MODULE.write_text(module(commands))
    if PAGE.exists():
        PAGE.write_text(page(commands, PAGE.read_text()))


if __name__ == "__main__":
    main()
