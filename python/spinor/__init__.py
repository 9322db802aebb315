"""spinor rotates and quantizes language models: any checkpoint, in bounded memory, exact.

    import spinor

    spinor.rotate("Llama-3.2-1B", "Llama-3.2-1B-rotated")
    spinor.quantize("Llama-3.2-1B", "Llama-3.2-1B-w4a16", scheme="W4A16", rotations=["R1", "R2"])
    print(spinor.verify("Llama-3.2-1B", "Llama-3.2-1B-rotated"))

Every command of the program is a function, every option an argument. Threads may call at once; Ctrl-C stops a call,
and what it had written is kept for the next one. Warnings go to logging.getLogger("spinor").
"""

from spinor import _core
from spinor._errors import ArgumentError, Error, InputError, RunError, VerificationError
from spinor._result import Result
from spinor.commands import (
    compare,
    dequantize,
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
__all__ = [
    "ArgumentError",
    "Error",
    "InputError",
    "Result",
    "RunError",
    "VerificationError",
    "compare",
    "dequantize",
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
