"""A function's arguments become a command's words, its outcome a Result or an exception."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from spinor import _core, _torch
from spinor._errors import ArgumentError, InputError, RunError, VerificationError
from spinor._listener import Listener
from spinor._result import Result


Function = TypeVar("Function", bound=Callable[..., Result])


def command(function: Function) -> Function:
    """Refuses, as spinor does, arguments that the function does not have."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    where = f"spinor.{function.__name__}"

    @functools.wraps(function)
    def checked(*arguments: Any, **named: Any) -> Result:
        if len(arguments) > len(positional):
            raise ArgumentError(where, f"takes {', '.join(positional)}, and all else by name")
        for name in named:
            if name not in names:
                raise ArgumentError(where, f"has no argument {name!r}", _nearest(name, names))
        for name in positional[len(arguments):]:
            if name not in named:
                raise ArgumentError(where, f"needs {name}")
        return function(*arguments, **named)

    return cast(Function, checked)


def _nearest(name: str, names: Sequence[str]) -> str:
    import difflib

    found = difflib.get_close_matches(name, names, 1)
    return f"did you mean {found[0]!r}?" if found else f"it has {', '.join(names)}"


def run(name: str, positional: Sequence[str], arguments: dict[str, Any]) -> Result:
    """The command of that name with the arguments of its function."""
    progress = arguments.pop("progress")
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise ArgumentError("progress", f"is {_kind(progress)}", "give True, False or a function of (what, done, all)")
    places = [arguments.pop(key) for key in positional]
    options = [word for key, value in arguments.items() for word in _words(key, value)]
    listener = Listener(progress)
    with contextlib.ExitStack() as saved:
        beside = dict(zip(positional, places)).get("out")
        places = [saved.enter_context(_saved(place, beside)) if _is_in_memory(place) else place for place in places]
        words = [os.fsencode(name), *(_place(*place) for place in zip(positional, places)), *options]
        try:
            outcome = _core.run(words, listener)
            if outcome[0] == "torch":
                outcome = _torch.run(words, listener)
        finally:
            listener.close()
    return _result(name, words, outcome)


def _is_in_memory(value: Any) -> bool:
    """A model of transformers; torch is not imported to find out."""
    return hasattr(value, "save_pretrained") and hasattr(value, "named_modules")


@contextlib.contextmanager
def _saved(model: Any, out: Any) -> Iterator[str]:
    """A model in memory as a checkpoint, for as long as it is read: beside what is written, where there is room."""
    import logging
    import tempfile

    from spinor._parameters import check_savable

    check_savable(model)
    beside = os.path.dirname(os.path.abspath(out)) if isinstance(out, (str, os.PathLike)) else ""
    with tempfile.TemporaryDirectory(prefix="model.", dir=beside if os.path.isdir(beside) else None) as place:
        logging.getLogger("spinor").info("the model in memory is saved in %s, and deleted there afterwards", place)
        try:
            model.save_pretrained(place)
        except OSError as error:
            raise RunError(place, f"the model in memory cannot be saved: {error}") from error
        yield place


def _result(name: str, words: list[bytes], outcome: tuple[Any, ...]) -> Result:
    """Two models that are not the same function are an error, with what was compared."""
    result, problem = _taken(name, outcome)
    if not problem:
        return result
    out = os.fsdecode(words[2])
    error = VerificationError(out, problem.removeprefix(f"{out}: "))
    error.result = result
    raise error


def finished(name: str, outcome: tuple[Any, ...]) -> Result:
    """Of what the core has done: its result, or the error that it ended with, which has the result, too."""
    result, problem = _taken(name, outcome)
    if problem:
        subject, _, rest = problem.partition(": ")
        error = RunError(subject, rest)
        error.result = result
        raise error
    return result


def _taken(name: str, outcome: tuple[Any, ...]) -> tuple[Result, str]:
    kind, *what = outcome
    if kind == "usage":
        raise InputError(f"spinor.{name}", *what[1:])
    if kind != "done":
        raise (InputError if kind == "input" else RunError)(*what)
    data, text, problem = what
    return Result(name, data, text), problem


def recipe_text(value: Any) -> str:
    """Of a recipe as functions take it: a file, a text, a dict, a list of modifiers."""
    if isinstance(value, (Mapping, list, tuple)):
        return _recipe(value).decode()
    if hasattr(value, "on_initialize"):
        return _recipe([value]).decode()
    if not isinstance(value, (str, os.PathLike)):
        raise ArgumentError("recipe", f"is {_kind(value)}", "give a file, YAML, a dict or modifiers")
    if "\n" in (text := os.fspath(value)):
        return text
    try:
        with open(text, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise InputError(text, error.strerror or str(error)) from None


def _place(key: str, value: Any) -> bytes:
    """A path, or org/name, that no option can be mistaken for."""
    if not isinstance(value, (str, os.PathLike)):
        raise ArgumentError(key, f"is {_kind(value)}", "give a path")
    word = os.fsencode(value)
    if not word:
        raise InputError(key, "is empty", "give a path")
    return b"./" + word if word.startswith(b"-") else word


def directory_of(key: str, model: Any) -> str:
    """A directory as it is, or that of org/name in the local Hugging Face cache."""
    place = os.fsdecode(_place(key, model))
    return place if os.path.isdir(place) else finished(key, _core.resolve_model(place))["directory"]


def _words(key: str, value: Any) -> list[bytes]:
    """--key=value, as often as there are values. None: not given."""
    option = b"--" + key.rstrip("_").replace("_", "-").encode()
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    if key == "recipe" and not isinstance(value, (str, os.PathLike)):
        return [option + b"=" + recipe_text(value).encode()]
    if isinstance(value, (list, tuple)):
        return [word for item in value for word in _words(key, _item(key, item))]
    if isinstance(value, (str, os.PathLike)):
        text = os.fsencode(value)
        return [option + b"=" + text] if text else [option, text]
    if isinstance(value, float):
        return [option + b"=" + repr(value).encode()]
    try:
        return [option + b"=%d" % value.__index__()]
    except AttributeError:
        raise ArgumentError(key, f"is {_kind(value)}", "give a text, a number or a list of them") from None


def _item(key: str, item: Any) -> Any:
    """The command's lists are divided by commas."""
    if isinstance(item, bool) or item is None or isinstance(item, (list, tuple)):
        raise ArgumentError(key, f"has {_kind(item)} in its list")
    if isinstance(item, str) and "," in item:
        raise InputError(key, f"has a comma in {item!r}", "say it in a recipe")
    return item


def _recipe(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """A recipe as a dict, of stages or of modifiers, or as a list of modifiers, in their order."""
    import json

    from spinor._fields import plain
    from spinor.modifiers import step_of

    if not isinstance(value, Mapping) or _has_modifiers(value):
        groups: list[dict[str, Any]] = [{}]
        for item in [value] if isinstance(value, Mapping) else value:
            for modifier, fields in step_of(item).items():
                if modifier in groups[-1]:
                    groups.append({})
                groups[-1][modifier] = fields
        value = {"default_stage": {f"group_{i}_modifiers": group for i, group in enumerate(groups)}}
    try:
        return json.dumps(plain(value)).encode() + b"\n"  # a text, not a file
    except (TypeError, ValueError) as error:
        raise ArgumentError("recipe", f"is not made of dicts, lists, texts and numbers: {error}") from None


def _has_modifiers(recipe: Mapping[str, Any]) -> bool:
    return bool(recipe) and all(str(name) in _core.modifier_names() for name in recipe)


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"
