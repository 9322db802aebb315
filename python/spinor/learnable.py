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

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import parametrize

from spinor import _parameters
from spinor._errors import InputError
from spinor._fields import plain
from spinor._listener import Listener
from spinor._online import OnlineRotation
from spinor._run import finished, recipe_text
from spinor.memory import rotate_model
from spinor.modifiers import step_of


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
    """What learnable_rotations() attached to a model, as model.spinor_rotations."""

    def __init__(
        self, model: Any, rotations: dict[str, LearnableRotation], fields: dict[str, Any], trained: list[Any]
    ):
        self.model, self.rotations, self._fields, self._trained = model, rotations, fields, trained
        self._hook = model.register_forward_pre_hook(lambda module, arguments: self.forget())
        model.spinor_rotations = self

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
        del self.model.spinor_rotations
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
            recipe = {"SpinQuantModifier": self._fields | {"rotation_file": str(file)}}
            return rotate_model(self.model, recipe=recipe, **arguments)


def learnable_rotations(
    model: Any, *, rotations: Sequence[str] = ("R1", "R2"), transform_type: str = "auto-random", seed: int | None = None
) -> LearnableRotations:
    """Attaches R1, and R2 of each layer, to the weights of a model in memory as trainable parameters. Norms are folded,
    and a tied head gets a tensor of its own; the weights themselves stay, and are frozen until detach() or fuse().

        rotations = spinor.learnable_rotations(model)
        optimizer = torch.optim.Adam(rotations.parameters(), lr=0.004)
        ...                                              # a loop of one's own
        rotations.fuse()

    transform_type, seed: where the matrices begin. Raises InputError for rotations that run online, and for what
    rotate_model() refuses.
    """
    fields = {"rotations": list(rotations), "transform_type": transform_type}
    return attach(model, fields if seed is None else fields | {"seed": seed})


def attach(model: Any, fields: dict[str, Any]) -> LearnableRotations:
    """As a SpinQuantModifier of these fields says."""
    for name in fields.get("rotations", ()):
        if name not in ("R1", "R2"):
            raise InputError("rotations", f"has {name!r}, which runs online", "learn R1 and R2")
    _parameters.check_model(model)
    rotate_model(model, rotations=[], progress=False)
    tensors = _parameters.tensors_of(model)
    job = _parameters.job_of(model, tensors, recipe_text({"SpinQuantModifier": fields}), _parameters.Tiles())
    finished("learnable_rotations", job.plan(Listener(False)))
    products = finished("learnable_rotations", job.products(Listener(False)))
    names = _names_in_memory(model, tensors)
    made: dict[str, LearnableRotation] = {}
    wanted: dict[str, list[Any]] = {}
    for tensor, columns, label, part, index in products["places"]:
        factors = products["matrices"][index]
        key = _key(label, tensor)
        if key not in made:
            made[key] = LearnableRotation(_start(factors)).to(tensors[tensor].device)
        wanted.setdefault(tensor, []).append((made[key], columns, factors["transposed"], part))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    for tensor, some in wanted.items():
        parent, _, name = names[tensor].rpartition(".")
        parametrize.register_parametrization(model.get_submodule(parent), name, _Rotated(some), unsafe=True)
    return LearnableRotations(model, made, fields, trained)


def learnable_fields(recipe: Any) -> dict[str, Any] | None:
    """Of a SpinQuantModifier whose rotations are to be trained, which is all that the recipe has; else None. A recipe
    that is a text or a file is none: learnable there asks for `spinor learn`."""
    steps = recipe if isinstance(recipe, (list, tuple)) else [recipe]
    if len(steps) != 1 or isinstance(steps[0], (str, os.PathLike)) or steps[0] is None:
        return None
    [(name, fields), *more] = step_of(steps[0]).items() or [("", {})]
    if more or name != "SpinQuantModifier" or not isinstance(fields, dict):
        return None
    fields = plain(fields)  # a copy
    groups = (fields.get("transform_config") or {}).get("config_groups", {}).values()
    if not fields.get("learnable") and not any(group.get("requires_grad") for group in groups):
        return None
    for group in groups:
        group.pop("requires_grad", None)
    return {name: value for name, value in fields.items() if name not in ("learnable", "learning")}


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
