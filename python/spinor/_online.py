"""Rotations that run with the model, as modules: fast where they are Hadamard matrices."""

from __future__ import annotations

from typing import Any

import torch

INPUT, OUTPUT, QUERY, KEY = "input", "output", "q_attn", "k_cache"


def _sylvester(n: int) -> torch.Tensor:
    matrix = torch.ones(1, 1)
    while len(matrix) < n:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


class OnlineRotation(torch.nn.Module):
    """x R for the blocks of size n of x's last dimension. A Hadamard R takes n (base + log2 n) operations at most a
    block, a dense one n^2. Computed in float32 at least."""

    def __init__(self, factors: dict[str, Any]):
        super().__init__()
        self.size, self.transposed = factors["size"], factors["transposed"]
        if "matrix" in factors:
            keep("matrix", self, factors["matrix"])
            return
        base = factors["base"]
        keep("base", self, base)
        rest = self.size // len(base)
        small = 1 << (rest.bit_length() // 2)
        keep("outer", self, _sylvester(rest // small))
        keep("inner", self, _sylvester(small))
        keep("signs", self, factors.get("signs"))
        keep("order", self, factors.get("order"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        blocks = x.to(wide).unflatten(-1, (-1, self.size))
        return (self._dense(blocks) if hasattr(self, "matrix") else self._fast(blocks)).flatten(-2).to(x.dtype)

    def _dense(self, x: torch.Tensor) -> torch.Tensor:
        matrix = self.matrix.to(x.dtype)
        return x @ (matrix.T if self.transposed else matrix)

    def _fast(self, x: torch.Tensor) -> torch.Tensor:
        """R = P D H^T P^T / sqrt(n), D the signs, H = base (x) outer (x) inner, P the order."""
        base, outer, inner = (factor.to(x.dtype) for factor in (self.base, self.outer, self.inner))
        if self.order is not None:
            x = torch.empty_like(x).index_copy(-1, self.order, x)
        if self.signs is not None and not self.transposed:
            x = x * self.signs.to(x.dtype)
        parts = x.unflatten(-1, (len(base), len(outer), len(inner)))
        parts = torch.einsum("...ijk,il->...ljk", parts, base if self.transposed else base.T)
        parts = torch.einsum("...ijk,jl->...ilk", parts, outer) @ inner
        x = parts.flatten(-3) / self.size**0.5
        if self.signs is not None and self.transposed:
            x = x * self.signs.to(x.dtype)
        return x if self.order is None else x.index_select(-1, self.order)

    def extra_repr(self) -> str:
        return f"size={self.size}, transposed={self.transposed}"


def keep(name: str, module: torch.nn.Module, value: Any) -> None:
    """A buffer that no checkpoint has."""
    kinds = {"order": torch.int64, "signs": torch.float32}  # all else keeps the bits of Python's numbers
    tensor = None if value is None else torch.as_tensor(value, dtype=kinds.get(name, torch.float64))
    module.register_buffer(name, tensor, persistent=False)


def _rounded(x: torch.Tensor) -> torch.Tensor:
    """With the gradient of x."""
    return x + (x.round() - x).detach()


class FakeQuantize(torch.nn.Module):
    """Each token of x to integers of few bits and back: dynamic, symmetric or not. Gradients go straight through the
    codes, and reach a token's extremes through its scale."""

    def __init__(self, bits: int, symmetric: bool):
        super().__init__()
        self.bits, self.symmetric = bits, symmetric

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        if self.symmetric:
            scale = wide.abs().amax(-1, keepdim=True) / ((2**self.bits - 1) / 2)
            zero = torch.zeros_like(scale)
        else:
            low, high = wide.amin(-1, keepdim=True).clamp(max=0), wide.amax(-1, keepdim=True).clamp(min=0)
            scale = (high - low) / (2**self.bits - 1)
            scale = torch.where(scale == 0, torch.finfo(torch.float32).eps, scale)
            zero = _rounded(-(2 ** (self.bits - 1)) - low / scale)
        scale = torch.where(scale == 0, torch.finfo(torch.float32).eps, scale)
        limit = 2 ** (self.bits - 1)
        codes = _rounded(wide / scale + zero).clamp(-limit, limit - 1)
        return ((codes - zero) * scale).to(x.dtype)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, symmetric={self.symmetric}"


def _before(module: torch.nn.Module, arguments: tuple[Any, ...]) -> Any:
    return (module.spinor_input(arguments[0]), *arguments[1:])


def _after(module: torch.nn.Module, arguments: Any, result: Any) -> Any:
    return module.spinor_output(result)


def append(module: torch.nn.Module, place: str, step: torch.nn.Module) -> None:
    """Another step before the module reads, or behind what it gives; of an attention on queries, keys or values."""
    name = f"spinor_{place}"
    if not hasattr(module, name):
        setattr(module, name, torch.nn.Sequential())
        if place == INPUT:
            getattr(module, name).hook = module.register_forward_pre_hook(_before)
        elif place == OUTPUT:
            getattr(module, name).hook = module.register_forward_hook(_after)
    getattr(module, name).append(step)


def remove(model: torch.nn.Module, kinds: tuple[type, ...] = (OnlineRotation, FakeQuantize)) -> int:
    """Takes steps of these kinds away again. Returns how many there were."""
    count = 0
    for module in list(model.modules()):
        for name, steps in list(module.named_children()):
            if not name.startswith("spinor_") or not isinstance(steps, torch.nn.Sequential):
                continue
            left = [step for step in steps if not isinstance(step, kinds)]
            count += len(steps) - len(left)
            hook = getattr(steps, "hook", None)
            if left:
                again = torch.nn.Sequential(*left)
                again.hook = hook
                setattr(module, name, again)
                continue
            if hook is not None:
                hook.remove()
            delattr(module, name)
    return count
