"""A row proved: a tiny model with other weights and sizes than it was found with, rotated by spinor as files, computes
the same as before."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path

import torch

import spinor

from .float64 import widened
from .tiny import Tiny

EXACT = {torch.float64: 1e-9, torch.float32: 2e-5}  # of the logits' deviation
SEED = 7
OFFLINE = ("R1", "R2")


@dataclasses.dataclass
class Proof:
    """Of each rotation the largest difference of the logits, in their deviations; or why it was refused."""

    errors: dict[str, float]
    refused: dict[str, str]

    @property
    def holds(self) -> bool:
        return all(error < EXACT[torch.float64] for error in self.errors.values())


@torch.no_grad()
def logits_of(directory: Path, tiny: Tiny, dtype: torch.dtype) -> torch.Tensor:
    """Of the files, loaded as anyone loads them."""
    model = loaded(directory, tiny, dtype).eval()
    with widened() if dtype == torch.float64 else contextlib.nullcontext():
        return model(**inputs_in(tiny.inputs, dtype), use_cache=False).logits


def loaded(directory: Path, tiny: Tiny, dtype: torch.dtype) -> torch.nn.Module:
    options = {"dtype": dtype, "attn_implementation": "eager"}
    for more in ({"experts_implementation": "eager"}, {}):
        with contextlib.suppress(TypeError, ValueError):
            return type(tiny.model).from_pretrained(directory, **options, **more).to(dtype)
    return type(tiny.model).from_pretrained(directory, **options).to(dtype)


def inputs_in(inputs: dict, dtype: torch.dtype) -> dict:
    return {name: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value
            for name, value in inputs.items()}


def prove(row: Path, tiny: Tiny, dtype: torch.dtype = torch.float64) -> Proof:
    """Rotations that are legal, alone and together, by `row`. Raises spinor.Error where the row does not fit."""
    proof = Proof({}, {})
    with tempfile.TemporaryDirectory(prefix="spinor-") as name:
        source = Path(name) / "model"
        tiny.model.to(dtype).save_pretrained(source)
        before = logits_of(source, tiny, dtype)
        for rotation in OFFLINE:
            out = Path(name) / rotation
            try:
                spinor.rotate(source, out, rotations=rotation, transform_type="random-orthogonal", seed=SEED,
                              architecture=[row], progress=False)
            except spinor.InputError as refusal:
                if "would change the model" not in refusal.problem:
                    raise
                proof.refused[rotation] = refusal.problem.partition(": ")[2]
                continue
            after = logits_of(out, tiny, dtype)
            proof.errors[rotation] = float((after - before).abs().max() / before.std())
    return proof
