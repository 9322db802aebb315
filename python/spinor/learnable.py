"""Rotations as trainable parameters of a model in memory, on the orthogonal group, for a training loop of one's own.

    rotations = spinor.learnable_rotations(model, rotations=["R1", "R2"])
    optimizer = torch.optim.Adam(rotations.parameters(), lr=1e-3)
    for batch in batches:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    rotations.fuse()

Attach low bits first (attach_low_bits), or there is nothing to learn: rotating alone changes nothing.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import parametrize

from spinor import _parameters
from spinor._errors import InputError
from spinor._listener import Listener
from spinor._online import OnlineRotation
from spinor._run import finished, recipe_text
from spinor.memory import rotate_model


class LearnableRotation(torch.nn.Module):
    """R = start C, C the Cayley transform of a skew-symmetric matrix that is learned: orthogonal wherever the optimizer
    goes, and `start` where it begins. Computed in float64; n^3 operations a forward pass."""

    def __init__(self, start: torch.Tensor):
        super().__init__()
        self.register_buffer("start", start.double(), persistent=False)
        self.lower = torch.nn.Parameter(torch.zeros_like(start, dtype=torch.float32))
        self._made: torch.Tensor | None = None

    def matrix(self) -> torch.Tensor:
        """(n, n), the same tensor until forget() is called."""
        if self._made is None or self._made.requires_grad != torch.is_grad_enabled():
            lower = self.lower.double().tril(-1)
            skew, one = lower - lower.T, torch.eye(len(lower), dtype=torch.float64, device=lower.device)
            self._made = self.start @ torch.linalg.solve(one + skew, one - skew)
        return self._made

    def forget(self) -> None:
        self._made = None


class _Rotated(torch.nn.Module):
    """The parametrization of a weight or bias: what the rotations, whatever they are by now, make of it."""

    def __init__(self, steps: Sequence[tuple[LearnableRotation, bool, bool, Any]]):
        super().__init__()
        self.rotations = torch.nn.ModuleList([step[0] for step in steps])
        self.steps = [step[1:] for step in steps]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for rotation, (columns, transposed, part) in zip(self.rotations, self.steps):
            matrix = rotation.matrix().to(torch.promote_types(x.dtype, torch.float32))
            matrix = matrix if columns != transposed else matrix.T
            x = _multiplied(x, matrix, columns, part)
        return x


def _multiplied(x: torch.Tensor, matrix: torch.Tensor, columns: bool, part: Any) -> torch.Tensor:
    """x blockdiag(matrix), or for rows blockdiag(matrix') x; of a part only those rows or columns."""
    if not columns:
        return _multiplied(x.mT, matrix, True, part).mT
    if part is not None:
        begin, size, period = part
        at = torch.arange(x.shape[-1], device=x.device) % period
        at = ((at >= begin) & (at < begin + size)).nonzero().squeeze(-1)
        return x.index_copy(-1, at, _multiplied(x.index_select(-1, at), matrix, True, None))
    blocks = x.to(matrix.dtype).unflatten(-1, (-1, len(matrix)))
    return (blocks @ matrix).flatten(-2).to(x.dtype)


class LearnableRotations:
    """What learnable_rotations() attached to a model."""

    def __init__(
        self, model: Any, rotations: dict[str, LearnableRotation], fields: dict[str, Any], trained: list[Any]
    ):
        self.model, self.rotations, self._fields, self._trained = model, rotations, fields, trained
        self._hook = model.register_forward_pre_hook(lambda module, arguments: self.forget())

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """For an optimizer: one for each matrix."""
        return (rotation.lower for rotation in self.rotations.values())

    def matrices(self) -> dict[str, torch.Tensor]:
        """The orthogonal matrices as they are by now, float64: "R1", "R2.0", ..."""
        self.forget()
        with torch.no_grad():
            return {name: rotation.matrix().clone() for name, rotation in self.rotations.items()}

    def forget(self) -> None:
        for rotation in self.rotations.values():
            rotation.forget()

    def detach(self) -> None:
        """The model as it was before: norms folded, not rotated."""
        self._hook.remove()
        for module in list(self.model.modules()):
            for name in list(getattr(module, "parametrizations", ())):
                if any(isinstance(p, _Rotated) for p in module.parametrizations[name]):
                    parametrize.remove_parametrizations(module, name, leave_parametrized=False)
        for parameter in self._trained:
            parameter.requires_grad_(True)

    def fuse(self, **arguments: Any) -> Any:
        """Rotates the weights by the matrices as they are by now, and detaches. Returns as rotate_model()."""
        from safetensors.torch import save_file

        matrices = self.matrices()
        self.detach()
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "rotations.safetensors"
            save_file({name: matrix.contiguous() for name, matrix in matrices.items()}, file)
            return rotate_model(self.model, rotation=file, **(self._fields | arguments))


def learnable_rotations(
    model: Any, *, rotations: Sequence[str] = ("R1", "R2"), transform_type: str = "auto-random", seed: int | None = None
) -> LearnableRotations:
    """Attaches R1, and R2 of each layer, to the weights of a model in memory as trainable parameters. Norms are folded,
    and a tied head gets a tensor of its own; the weights themselves stay, and are frozen until detach() or fuse()."""
    for name in rotations:
        if name not in ("R1", "R2"):
            raise InputError("rotations", f"has {name!r}, which runs online", "learn R1 and R2")
    _parameters.check_model(model)
    rotate_model(model, rotations=[], progress=False)
    fields = {"rotations": list(rotations), "transform_type": transform_type}
    steps = fields if seed is None else fields | {"seed": seed}
    tensors = _parameters.tensors_of(model)
    job = _parameters.job_of(model, tensors, recipe_text({"SpinQuantModifier": steps}))
    finished("learnable_rotations", job.plan(Listener(False)))
    products = finished("learnable_rotations", job.products(Listener(False)))
    names = _names_in_memory(model, tensors)
    made: dict[str, LearnableRotation] = {}
    wanted: dict[str, list[Any]] = {}
    for tensor, columns, label, part, index in products["places"]:
        factors = products["matrices"][index]
        key = _key(label, tensor)
        if key not in made:
            made[key] = LearnableRotation(_start(factors))
        wanted.setdefault(tensor, []).append((made[key], columns, factors["transposed"], part))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    for tensor, some in wanted.items():
        parent, _, name = names[tensor].rpartition(".")
        parametrize.register_parametrization(model.get_submodule(parent), name, _Rotated(some), unsafe=True)
    return LearnableRotations(model, made, fields, trained)


def _key(label: str, tensor: str) -> str:
    layer = re.search(r"\.(\d+)\.", tensor)
    return f"R2.{layer.group(1)}" if label.startswith("R2") and layer else label.rstrip("'")


def _start(factors: dict[str, Any]) -> torch.Tensor:
    """The matrix itself, whatever way it is used."""
    rotation = OnlineRotation({**factors, "transposed": False})
    return rotation(torch.eye(rotation.size, dtype=torch.float64))


def _names_in_memory(model: Any, tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """Of tensors as files have them. Error for one that is a part of a parameter."""
    places = {(t.data_ptr(), t.shape): name for name, t in model.state_dict().items()}
    names = {}
    for name, tensor in tensors.items():
        place = places.get((tensor.data_ptr(), tensor.shape))
        if place is None and tensor.numel():
            raise InputError(name, "is a part of a larger parameter", "learn rotations of this model by spinor.learn()")
        names[name] = place or name
    return names
