"""A row proved: a tiny model with other weights and sizes than it was found with, rotated by spinor as files, computes
the same as before."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

import spinor

from . import subject
from .float64 import widened
from .left_out import each_left_out
from .tiny import Tiny

# Largest difference of the logits, in their deviations, computed in float64. Weights in float32 are rounded once, which
# moves them by 6e-6 at most.
EXACT = {torch.float64: subject.EXACT, torch.float32: 2e-5}
SEED = 7
OFFLINE = ("R1", "R2")


@dataclasses.dataclass
class Proof:
    """Of each rotation the largest difference of the logits, in their deviations; or why it was refused."""

    errors: dict[str, float]
    refused: dict[str, str]
    # Of each rotation and role of tensors: the difference where those of one layer are not rotated (left_out).
    moved: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return all(error < EXACT[torch.float64] for error in self.errors.values())

    @property
    def unnoticed(self) -> set[tuple[str, str]]:
        """What may be rotated or not: the logits do not tell."""
        return {site for site, moved in self.moved.items() if moved < EXACT[torch.float64]}


@torch.no_grad()
def logits_of(model: torch.nn.Module, tiny: Tiny) -> torch.Tensor:
    """Of a model that was loaded, for the inputs of the tiny one, in the type of its weights."""
    with widened() if model.dtype == torch.float64 else contextlib.nullcontext():
        return model(**inputs_in(tiny.inputs, model.dtype), use_cache=False).logits


@contextlib.contextmanager
def nothing_kept_narrow(model_class: type):
    """Modules that a class keeps in float32 would round what is in float64."""
    names = ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict")
    before = {name: getattr(model_class, name) for name in names if hasattr(model_class, name)}
    try:
        for name in before:
            setattr(model_class, name, None)
        yield
    finally:
        for name, value in before.items():
            setattr(model_class, name, value)


def loaded(directory: Path, tiny: Tiny, dtype: torch.dtype) -> torch.nn.Module:
    """As anyone loads the files."""
    options = {"dtype": dtype, "attn_implementation": "eager"}
    with nothing_kept_narrow(type(tiny.model)):
        for more in ({"experts_implementation": "eager"}, {}):
            with contextlib.suppress(TypeError, ValueError):
                return widen(type(tiny.model).from_pretrained(directory, **options, **more), directory, dtype).eval()
        return widen(type(tiny.model).from_pretrained(directory, **options), directory, dtype).eval()


@torch.no_grad()
def widen(model: torch.nn.Module, directory: Path, dtype: torch.dtype) -> torch.nn.Module:
    """Parameters that a class makes in float32 are read again."""
    narrow = [name for name, value in model.named_parameters() if value.is_floating_point() and value.dtype != dtype]
    model = model.to(dtype)
    if narrow:
        stored = {}
        for file in directory.glob("*.safetensors"):
            stored |= load_file(file)
        parameters = dict(model.named_parameters())
        for name in narrow:
            if name in stored and stored[name].shape == parameters[name].shape:
                parameters[name].copy_(stored[name])
    return model


def inputs_in(inputs: dict, dtype: torch.dtype) -> dict:
    return {name: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value
            for name, value in inputs.items()}


def save(tiny: Tiny, directory: Path, dtype: torch.dtype, name: str = "") -> None:
    """As transformers saves it; config.json gives it that name."""
    tiny.model.to(dtype).save_pretrained(directory)
    if name:
        file = directory / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"architectures": [name]}))


def rotated(source: Path, folder: Path, row: Path | None = None) -> tuple[dict[str, Path], dict[str, str]]:
    """A checkpoint with each of the rotations by itself, written below `folder`; and why which were refused."""
    done, refused = {}, {}
    for rotation in OFFLINE:
        try:
            spinor.rotate(source, folder / rotation, rotations=rotation, transform_type="random-orthogonal", seed=SEED,
                          architecture=[row] if row else None, progress=False)
            done[rotation] = folder / rotation
        except spinor.InputError as refusal:
            if "would change the model" not in refusal.problem:
                raise
            refused[rotation] = refusal.problem.partition(": ")[2]
    return done, refused


def prove(tiny: Tiny, row: Path | None = None, name: str = "") -> Proof:
    """Of each rotation that is legal by `row`, which calls the class `name`, or by the one that spinor has. Raises
    spinor.Error where the row does not fit, or `spinor verify` says that the rotated model is another function."""
    with tempfile.TemporaryDirectory(prefix="spinor-") as folder:
        source = Path(folder) / "model"
        save(tiny, source, torch.float64, name)
        model = loaded(source, tiny, torch.float64)
        before = logits_of(model, tiny)
        done, refused = rotated(source, Path(folder), row)
        proof = Proof({}, refused)
        for rotation, out in done.items():
            spinor.verify(source, out, architecture=[row] if row else None, progress=False)
            other = loaded(out, tiny, torch.float64)

            def error(of: torch.nn.Module = other) -> float:
                return subject.difference(before, logits_of(of, tiny))

            proof.errors[rotation] = error()
            proof.moved |= {(rotation, role): error() for role in each_left_out(model, other)}
        return proof
