"""R1 and R2 as tensors, as RotLLM draws and takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from spinor import _core
from spinor._errors import ArgumentError, InputError
from spinor._online import OnlineRotation
from spinor._run import finished

_TYPES = {"hadamard": "random-hadamard", "random": "random-orthogonal"}


def get_orthogonal_matrix(size: int, mode: str = "hadamard", device: Any = "cpu") -> torch.Tensor:
    """A random orthogonal matrix (size, size), float64, drawn with torch's seed.

        R = spinor.get_orthogonal_matrix(model.config.hidden_size, mode="hadamard")

    mode: "hadamard", a Hadamard matrix with random signs, of any size for which one is known; "random", uniform among
      all orthogonal matrices. Raises InputError for another mode, and for a size without a Hadamard matrix.
    """
    if not isinstance(size, int) or size < 1:
        raise ArgumentError("size", f"is {size!r}", "give how many channels are rotated")
    if mode not in _TYPES:
        raise InputError("mode", f"is {mode!r}", "give 'hadamard' or 'random'")
    seed = int(torch.randint(2**62, ()))
    factors = finished("get_orthogonal_matrix", _core.rotation(_TYPES[mode], size, seed)).to_dict()
    return OnlineRotation(factors)(torch.eye(size, dtype=torch.float64)).to(device)


def save(file: Path, R: Any = None, R_v: Any = None, layers: int = 0) -> list[str]:
    """As spinor.rotate(rotation=file) reads them. Returns the rotations that they are."""
    from safetensors.torch import save_file

    matrices = {} if R is None else {"R1": R}
    if isinstance(R_v, torch.Tensor):
        matrices["R2"] = R_v
    elif isinstance(R_v, Sequence) and not isinstance(R_v, str):
        if len(R_v) != layers:
            raise InputError("R_v", f"has {len(R_v)} matrices for {layers} layers", "give one, or one for each layer")
        matrices |= {f"R2.{layer}": matrix for layer, matrix in enumerate(R_v)}
    elif R_v is not None:
        raise ArgumentError("R_v", f"is of type {type(R_v).__name__}", "give a tensor, or a list of them")
    for name, matrix in matrices.items():
        if not isinstance(matrix, torch.Tensor):
            raise ArgumentError(name, f"is of type {type(matrix).__name__}", "give a tensor (n, n)")
    save_file({name: matrix.detach().double().cpu().contiguous() for name, matrix in matrices.items()}, file)
    return [name for name, given in (("R1", R), ("R2", R_v)) if given is not None]
