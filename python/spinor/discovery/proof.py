"""A row proved: a tiny model with other weights and sizes than it was found with, rotated by spinor as files, computes
the same as before."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import torch
import transformers

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
    auto = transformers.AutoModelForCausalLM if tiny.kind == "causal" else transformers.AutoModelForImageTextToText
    model = auto.from_pretrained(directory, dtype=dtype, attn_implementation="eager").eval()
    if dtype == torch.float64:
        with widened():
            return model(**tiny.inputs, use_cache=False).logits
    return model(**tiny.inputs, use_cache=False).logits


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
            except spinor.RefusedError as refusal:
                proof.refused[rotation] = str(refusal)
                continue
            after = logits_of(out, tiny, dtype)
            proof.errors[rotation] = float((after - before).abs().max() / before.std())
    return proof
