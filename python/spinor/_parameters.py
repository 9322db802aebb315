"""A model's parameters as the tensors of its checkpoint, where they are: nothing is copied."""

from __future__ import annotations

import json
from typing import Any

import torch

from spinor import _core
from spinor._errors import ArgumentError, InputError

# As safetensors calls them.
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
SAVED = "save the model, and give spinor.rotate() its directory"


class _Alias(torch.Tensor):
    """What transformers does to parameters before it saves them, without the copies that it makes."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        if function is torch.Tensor.contiguous:
            return arguments[0]
        return super().__torch_function__(function, types, arguments, named or {})


def check_model(model: Any) -> None:
    """Refuses what has no parameters in this process's memory that could be edited."""
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError("model", f"is of type {type(model).__name__}", "give a torch.nn.Module, or use a command")
    if not hasattr(getattr(model, "config", None), "to_json_string"):
        raise ArgumentError("model", f"{type(model).__name__} has no config", "give a model of transformers")
    if getattr(model, "hf_quantizer", None) or getattr(model.config, "quantization_config", None):
        raise InputError("model", "is quantized", "rotate it before it is quantized")
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind == "FullyShardedDataParallel" or kind.startswith("FSDP"):
            raise InputError(name or "model", "is sharded (FSDP)", "rotate the model before it is sharded")
        hook = getattr(module, "_hf_hook", None)
        if getattr(hook, "offload", False):
            raise InputError(name or "model", "is offloaded", "load the model without a device_map")
    for name, parameter in model.state_dict(keep_vars=True).items():
        _check_tensor(name, parameter)


def _check_tensor(name: str, tensor: torch.Tensor) -> None:
    if type(tensor).__name__ == "DTensor" or type(tensor.data).__name__ == "DTensor":
        raise InputError(name, "is sharded (a DTensor)", "rotate the model before it is distributed")
    if tensor.device.type == "meta":
        raise InputError(name, "is on the meta device: it has no values", "load the model with its weights")
    if tensor.device.type != "cpu":
        raise InputError(name, f"is on {tensor.device}", "move the model: model.to('cpu'), and back afterwards")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.dtype not in DTYPES:
        raise InputError(name, f"is of {tensor.dtype}, {tensor.layout}", "give a model of plain numbers")


def config_of(model: Any) -> dict[str, Any]:
    """config.json as save_pretrained writes it."""
    config = json.loads(model.config.to_json_string())
    config["architectures"] = [type(model).__name__]
    return config


def tensors_of(model: Any) -> dict[str, torch.Tensor]:
    """By the names and in the parts of the files that save_pretrained would write; each a view of a parameter."""
    everything = model.state_dict()
    tied = getattr(model, "all_tied_weights_keys", None) or {}  # by the name of who shares it, whose it is
    state: dict[str, torch.Tensor] = {}
    places: dict[Any, str] = {}
    for name, tensor in everything.items():
        place, owner = _place(tensor), everything.get(tied.get(name, ""))
        if owner is not None and place == _place(owner):
            continue  # the head that is the embedding
        if tensor.numel() and place in places:
            raise InputError(name, f"is the same memory as {places[place]}", SAVED)
        places[place] = name
        state[name] = tensor.as_subclass(_Alias)
    own = {tensor.untyped_storage().data_ptr() for tensor in state.values()}
    named = _as_in_files(model, state)
    for name, tensor in named.items():
        if tensor.untyped_storage().data_ptr() not in own:
            raise InputError(name, "is in parts of memory that its file would put together", SAVED)
    return {name: tensor.as_subclass(torch.Tensor) for name, tensor in named.items()}


def _place(tensor: torch.Tensor) -> Any:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _as_in_files(model: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from transformers.core_model_loading import revert_weight_conversion

    return revert_weight_conversion(model, state)


def described(tensors: dict[str, torch.Tensor]) -> list[tuple[str, str, list[int], list[int], int]]:
    """Name, dtype, shape, strides in bytes, address."""
    return [
        (name, DTYPES[t.dtype], list(t.shape), [s * t.element_size() for s in t.stride()], t.data_ptr())
        for name, t in tensors.items()
    ]


def job_of(model: Any, tensors: dict[str, torch.Tensor], recipe: str) -> _core.MemoryJob:
    """What the recipe makes of the model, whose tensors these are."""
    return _core.MemoryJob(json.dumps(config_of(model)), described(tensors), recipe)
