"""llm-compressor's oneshot: a model, a recipe, a dataset, an output directory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spinor import commands, lifecycle
from spinor._errors import ArgumentError, InputError
from spinor._listener import Progress
from spinor.modifiers import Modifier, QuIPModifier, SpinQuantModifier, _CoreModifier


def oneshot(
    model: Any,
    recipe: Any,
    dataset: Any = None,
    *,
    output_dir: str | os.PathLike[str] | None = None,
    num_calibration_samples: int = 512,
    max_seq_length: int = 384,
    text_column: str = "text",
    shuffle_calibration_samples: bool = True,
    progress: Progress = None,
    **options: Any,
) -> Any:
    """Applies a recipe to a model.

        oneshot(model="Llama-3.2-1B", recipe=[SpinQuantModifier(), GPTQModifier(scheme="W4A16", ignore=["lm_head"])],
                dataset="train.txt", num_calibration_samples=128, max_seq_length=2048, output_dir="Llama-3.2-1B-w4a16")

    model: a checkpoint directory or org/name: the result goes to output_dir, streamed, never in memory as a whole. Or
      a model of transformers, which SpinQuantModifier, QuIPModifier and modifiers written in Python change where it is;
      these find the dataset in state.data.
    recipe: modifiers, a dict, YAML or a file.
    dataset: a text file, a directory, a `.jsonl` or `.json` file as --calibration takes it; or rows: texts, dicts that
      have `text_column`, or lists of tokens, as datasets.Dataset gives them.
    options: those of spinor.quantize().

    Returns the Result of spinor.quantize(), or the model in memory.
    """
    if not isinstance(model, (str, os.PathLike)):
        if options:
            raise ArgumentError("oneshot", f"has no argument {next(iter(options))!r} for a model in memory")
        return _in_memory(model, recipe, dataset, output_dir, progress)
    if output_dir is None:
        raise ArgumentError("oneshot", "needs output_dir", "the model is streamed from its directory to another one")
    if dataset is None:
        return commands.quantize(model, output_dir, recipe=recipe, progress=progress, **options)
    seed = {} if shuffle_calibration_samples else {"calibration_seed": 0}
    with tempfile.TemporaryDirectory() as scratch:
        return commands.quantize(
            model, output_dir, recipe=recipe, calibration=_file_of(dataset, text_column, Path(scratch)),
            calibration_samples=num_calibration_samples, calibration_context=max_seq_length, progress=progress,
            **(seed | options),
        )  # fmt: skip


def _file_of(dataset: Any, column: str, scratch: Path) -> Path:
    """What --calibration reads."""
    if isinstance(dataset, (str, os.PathLike)):
        return Path(dataset)
    if not isinstance(dataset, Iterable):
        raise ArgumentError("dataset", f"is of type {type(dataset).__name__}", "give a file, or rows of text")
    rows = [_row(row, column, i) for i, row in enumerate(dataset)]
    if not rows:
        raise InputError("dataset", "has no rows")
    if all(isinstance(row, str) for row in rows):
        path = scratch / "dataset.jsonl"
        path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    elif any(isinstance(row, str) for row in rows):
        raise InputError("dataset", "has rows of text and rows of tokens")
    else:
        path = scratch / "tokens.json"
        path.write_text(json.dumps([token for row in rows for token in row]), encoding="utf-8")
    return path


def _row(row: Any, column: str, number: int) -> str | list[int]:
    if isinstance(row, Mapping):
        for name in (column, "input_ids"):
            if name in row:
                row = row[name]
                break
        else:
            raise InputError("dataset", f"row {number} has no {column!r}, but {', '.join(map(repr, row))}",
                             "name the column by text_column")  # fmt: skip
    if isinstance(row, str):
        return row
    try:
        return [int(token) for token in row]
    except (TypeError, ValueError):
        raise InputError("dataset", f"row {number} is no text and no list of tokens") from None


def _in_memory(model: Any, recipe: Any, dataset: Any, output_dir: Any, progress: Progress) -> Any:
    from spinor._parameters import check_model
    from spinor.memory import rotate_model

    check_model(model)
    steps = recipe if isinstance(recipe, (list, tuple)) else [recipe]
    written = [step for step in steps if isinstance(step, Modifier) and not isinstance(step, _CoreModifier)]
    if dataset is not None and not written:
        raise ArgumentError("oneshot", "is given a dataset, and nothing in the recipe reads it", "leave it out")
    for step in steps:
        if isinstance(step, _CoreModifier) and not isinstance(step, (SpinQuantModifier, QuIPModifier)):
            raise InputError(type(step).__name__, "quantizes, which would need a copy of the model in memory",
                             "save the model, and give oneshot() its directory and an output_dir")  # fmt: skip
    for step in steps:
        if step in written:
            lifecycle.run(step, lifecycle.State(model=model, data=dataset))
        else:
            rotate_model(model, recipe=step, progress=progress)
    if output_dir is not None:
        model.save_pretrained(output_dir)
    return model
