"""What runs inside of attentions: behind RoPE, on queries, keys and values."""

from __future__ import annotations

import sys
from typing import Any

import torch

PREFIX = "spinor_on_"


def _steps(module: torch.nn.Module, place: str, x: torch.Tensor) -> torch.Tensor:
    steps = getattr(module, f"spinor_{place}", None)
    return x if steps is None else steps(x)


def _function(implementation: str) -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attention(module: torch.nn.Module, query: Any, key: Any, value: Any, *arguments: Any, **named: Any) -> Any:
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        function = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager)
        query, key = _steps(module, "q_attn", query), _steps(module, "k_cache", key)
        return function(module, query, key, _steps(module, "v_cache", value), *arguments, **named)

    return attention


def install(model: Any) -> None:
    """The model's attentions call what is attached to them, then what they called before."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    before = model.config._attn_implementation
    if before.startswith(PREFIX):
        return
    name = PREFIX + before
    AttentionInterface.register(name, _function(before))
    if before in ALL_MASK_ATTENTION_FUNCTIONS:
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[before])
    _set(model, name)


def uninstall(model: Any) -> None:
    name = model.config._attn_implementation
    if name.startswith(PREFIX):
        _set(model, name.removeprefix(PREFIX))


def _set(model: Any, name: str) -> None:
    """Not by set_attn_implementation(), which looks for kernels of that name."""
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_attn_implementation"):
            module.config._attn_implementation_internal = name


def uninstall_if_unused(model: Any) -> None:
    names = {f"spinor_{place}" for place in ("q_attn", "k_cache", "v_cache")}
    if not any(name in names for module in model.modules() for name, _ in module.named_children()):
        uninstall(model)
