"""A model's parameters as the tensors of its checkpoint, where they are: nothing is copied, but tiles of what is on a
device."""

from __future__ import annotations

import ctypes
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


def check_savable(model: Any) -> None:
    """Refuses what is not the same function without what is attached to it, which no file would have."""
    check_model(model)
    for name, module in model.named_modules():
        kind = type(module)
        if kind.__module__ == "spinor._online":
            raise InputError(name, f"is a {kind.__name__}, which runs in memory alone",
                             "remove it, and say it by arguments: rotations, activations, kv")  # fmt: skip
        if kind.__name__ == "_Rotated":
            raise InputError(name, "is being learned", "call fuse() or detach() of its rotations first")


def _check_tensor(name: str, tensor: torch.Tensor) -> None:
    if type(tensor).__name__ == "DTensor" or type(tensor.data).__name__ == "DTensor":
        raise InputError(name, "is sharded (a DTensor)", "rotate the model before it is distributed")
    if tensor.device.type == "meta":
        raise InputError(name, "is on the meta device: it has no values", "load the model with its weights")
    if tensor.device.type not in ("cpu", "cuda"):
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


def is_here(tensor: torch.Tensor) -> bool:
    """In the memory of this process."""
    return tensor.device.type == "cpu"


class Tiles:
    """Copies tiles of tensors that lie elsewhere to the host and back: rows [row, row + rows), of each the bytes
    [begin, begin + width), one behind the other at an address. No more than a tile is ever on the host."""

    def __init__(self) -> None:
        self.rows: dict[str, torch.Tensor] = {}

    def add(self, name: str, tensor: torch.Tensor) -> None:
        try:
            rows = tensor.view(-1, tensor.shape[-1] if tensor.ndim else 1)
            self.rows[name] = rows.view(torch.uint8)
        except RuntimeError:
            raise InputError(name, "has rows or columns that lie apart", "make it contiguous first") from None

    def __call__(self, name: str, row: int, rows: int, begin: int, width: int, address: int, to_host: bool) -> None:
        host = torch.frombuffer((ctypes.c_byte * (rows * width)).from_address(address), dtype=torch.uint8)
        host, tile = host.view(rows, width), self.rows[name][row : row + rows, begin : begin + width]
        (host if to_host else tile).copy_(tile if to_host else host)


def described(tensors: dict[str, torch.Tensor], tiles: Tiles) -> list[tuple[str, str, list[int], list[int], int]]:
    """Name, dtype, shape, strides in bytes, address; 0 of those that go through `tiles`, which has them then."""
    rows = []
    for name, t in tensors.items():
        address = t.data_ptr() if is_here(t) else 0
        if address == 0:
            tiles.add(name, t)
        rows.append((name, DTYPES[t.dtype], list(t.shape), [s * t.element_size() for s in t.stride()], address))
    return rows


def job_of(model: Any, tensors: dict[str, torch.Tensor], recipe: str, tiles: Tiles) -> _core.MemoryJob:
    """What the recipe makes of the model, whose tensors these are."""
    return _core.MemoryJob(json.dumps(config_of(model)), described(tensors, tiles), recipe, tiles)
