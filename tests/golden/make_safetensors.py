"""Writes safetensors/*.safetensors with the safetensors library itself (0.8.0), for byte-identity of our headers.

usage: python make_safetensors.py
"""

import ctypes
import pathlib

from safetensors import TensorSpec, serialize

# torch's spelling and bytes of four elements, in an order that is neither the file's nor sorted. The library writes
# float4_e2m1fn_x2 as twice as many F4; the F6 types have no torch spelling.
DTYPES = {
    "bool": 4, "uint8": 4, "int8": 4, "float8_e5m2": 4, "float8_e4m3fn": 4, "float8_e8m0fnu": 4,
    "float8_e4m3fnuz": 4, "float8_e5m2fnuz": 4, "float4_e2m1fn_x2": 4, "int16": 8, "uint16": 8, "float16": 8,
    "bfloat16": 8, "int32": 16, "uint32": 16,
    "float32": 16, "float64": 32, "int64": 32, "uint64": 32, "complex64": 32,
}  # fmt: skip
ZEROS = ctypes.create_string_buffer(64)


def spec(dtype, shape, size):
    return TensorSpec(dtype=dtype, shape=shape, data_ptr=ctypes.addressof(ZEROS), data_len=size)


CASES = {
    "empty": ({}, None),
    "every_dtype": ({f"{d}.{n}": spec(d, [2, 2], s) for d, s in DTYPES.items() for n in "ba"}, {"format": "pt"}),
    # Spelling: JSON escapes, names beyond ASCII, numbers sorted as text, scalars, no elements.
    "names": (
        {n: spec("bfloat16", [], 2) for n in ['quote"', "back\\slash", "tab\t", "\x01\x7f/", "é€😀", "l.10", "l.9"]}
        | {"none": spec("float32", [0, 3], 0)},
        None,
    ),
    "padding": ({"a": spec("uint8", [1], 1)}, {"note": 'a "quoted" é'}),
}

folder = pathlib.Path(__file__).parent / "safetensors"
folder.mkdir(exist_ok=True)
for name, (tensors, metadata) in CASES.items():
    (folder / f"{name}.safetensors").write_bytes(serialize(tensors, metadata))
