"""Parts of a model that no code of its class reads: their names stand only where they are made."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator

import torch

NO_MODELS = {"torch", "transformers", "builtins", "abc", "typing"}
# What reads parts without their names.
GENERIC = {"children", "named_children", "modules", "_modules", "_parameters", "__dict__"}


def unread_parameters(model: torch.nn.Module) -> set[str]:
    """None where the code is not there."""
    try:
        names = "|".join(name for source in _sources(model) for name in _names_in(ast.parse(source)))
    except (OSError, TypeError, SyntaxError):
        return set()
    said = re.compile(names)
    return {name for name, _ in model.named_parameters() if _is_unread(model, name, said)}


def _sources(model: torch.nn.Module) -> list[str]:
    """Of the files of its classes: neither torch's nor those of all models of transformers, which compute nothing."""
    found = {base.__module__ for module in model.modules() for base in type(module).__mro__}
    return [inspect.getsource(sys.modules[name]) for name in sorted(found)
            if ".models." in name or name.partition(".")[0] not in NO_MODELS]


def _names_in(code: ast.Module) -> Iterator[str]:
    """Patterns of all names that the code reads; those it makes up are any that end or begin so."""
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield ".*" if node.attr in GENERIC else re.escape(node.attr)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".*" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.escape(node.value)


def _is_unread(model: torch.nn.Module, name: str, said: re.Pattern) -> bool:
    """A part on the way to it, of a class of the model's, is called what nobody says."""
    owner = model
    for part in name.split("."):
        if _reads_by_name(owner) and not said.fullmatch(part):
            return True
        owner = getattr(owner, part)
    return False


def _reads_by_name(owner: torch.nn.Module) -> bool:
    """It is not made of a class of torch's, which knows its parts by keys, or reads them itself."""
    return all(base is torch.nn.Module or base.__module__.partition(".")[0] != "torch" for base in type(owner).__mro__)
