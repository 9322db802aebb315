"""A checkpoint without the bytes of its tensors: a sparse file with a header, as long as the model."""

import json
import struct

BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E8M0": 1, "U8": 1, "I64": 8, "BOOL": 1}


def write_headers(folder, config, tensors):
    """`tensors`: their types and shapes."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin = end
        end += BYTES[dtype]
        for size in shape:
            end += (end - begin) * (size - 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "config.json").write_text(json.dumps(config))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
