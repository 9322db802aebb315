"""spinor rotates and quantizes language models: any checkpoint, in bounded memory, exact.

    import spinor

    spinor.rotate("Llama-3.2-1B", "Llama-3.2-1B-rotated")
    spinor.quantize("Llama-3.2-1B", "Llama-3.2-1B-w4a16", scheme="W4A16", rotations=["R1", "R2"])
    print(spinor.verify("Llama-3.2-1B", "Llama-3.2-1B-rotated"))

Every command of the program is a function, every option an argument. Threads may call at once; Ctrl-C stops a call,
and what it had written is kept for the next one. Warnings go to logging.getLogger("spinor").
"""

from typing import TYPE_CHECKING

from spinor import _core
from spinor._errors import ArgumentError, Error, InputError, RunError, VerificationError
from spinor._result import Result
from spinor.commands import (
    answer,
    compare,
    dequantize,
    discover,
    eval,
    generate,
    inspect,
    learn,
    plan,
    quantize,
    rotate,
    tokenize,
    verify,
)

__version__ = _core.version

# Imported when they are asked for: what works on models in memory needs torch, which nothing else does.
_LATER = {
    "AutoOperation": "operations",
    "Event": "lifecycle",
    "EventType": "lifecycle",
    "GPTQModifier": "modifiers",
    "Modifier": "modifiers",
    "NormLinearIterator": "operations",
    "NormMapping": "modifiers",
    "QuIPModifier": "modifiers",
    "QuantizationModifier": "modifiers",
    "QuantizationScheme": "config",
    "RotateOperationRegistry": "operations",
    "SpinQuantMapping": "modifiers",
    "SpinQuantModifier": "modifiers",
    "State": "lifecycle",
    "TransformArgs": "config",
    "TransformConfig": "config",
    "TransformScheme": "config",
    "apply_transform_config": "config",
    "attach_low_bits": "memory",
    "fuse_layer_norms": "operations",
    "get_orthogonal_matrix": "_matrices",
    "learnable_rotations": "learnable",
    "load": "_load",
    "match_named_modules": "config",
    "oneshot": "_oneshot",
    "remove_low_bits": "memory",
    "remove_online": "memory",
    "rotate_model": "memory",
}


if TYPE_CHECKING:  # the same, for tools that read types
    from spinor._load import load as load
    from spinor._matrices import get_orthogonal_matrix as get_orthogonal_matrix
    from spinor._oneshot import oneshot as oneshot
    from spinor.config import (
        QuantizationScheme as QuantizationScheme,
        TransformArgs as TransformArgs,
        TransformConfig as TransformConfig,
        TransformScheme as TransformScheme,
        apply_transform_config as apply_transform_config,
        match_named_modules as match_named_modules,
    )
    from spinor.learnable import learnable_rotations as learnable_rotations
    from spinor.lifecycle import Event as Event, EventType as EventType, State as State
    from spinor.memory import (
        attach_low_bits as attach_low_bits,
        remove_low_bits as remove_low_bits,
        remove_online as remove_online,
        rotate_model as rotate_model,
    )
    from spinor.modifiers import (
        GPTQModifier as GPTQModifier,
        Modifier as Modifier,
        NormMapping as NormMapping,
        QuIPModifier as QuIPModifier,
        QuantizationModifier as QuantizationModifier,
        SpinQuantMapping as SpinQuantMapping,
        SpinQuantModifier as SpinQuantModifier,
    )
    from spinor.operations import (
        AutoOperation as AutoOperation,
        NormLinearIterator as NormLinearIterator,
        RotateOperationRegistry as RotateOperationRegistry,
        fuse_layer_norms as fuse_layer_norms,
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def __getattr__(name: str):  # noqa: ANN202
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(f"spinor.{_LATER[name]}"), name)
    raise AttributeError(f"module 'spinor' has no attribute {name!r}")


__all__ = [
    "ArgumentError",
    "Error",
    "InputError",
    "Result",
    "RunError",
    "VerificationError",
    "answer",
    "compare",
    "dequantize",
    "discover",
    "eval",
    "generate",
    "inspect",
    "learn",
    "plan",
    "quantize",
    "rotate",
    "tokenize",
    "verify",
]
