"""Writes codecs.json: what llm-compressor's observers and compressed-tensors' compressors make of generated weights.

Weights come from a formula that codec_test.cpp repeats, so the file holds what was made of them: sums over all bytes
for minmax, whole scales for mse. Run with requirements-peer.txt (llmcompressor 0.14.0.1, compressed-tensors 0.19.0,
torch 2.13.0): python make_codecs.py
"""

import base64
import json
import pathlib

import numpy
import torch
from compressed_tensors.compressors import compress_module, decompress_module
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, QuantizationStatus
from compressed_tensors.quantization.lifecycle.initialize import initialize_module_for_quantization
from llmcompressor.modifiers.quantization.calibration import initialize_observer, observe, update_qparams

SHAPES = [(830, 545), (342, 512), (256, 700), (512, 100), (128, 33)]


def hash_of(rows, cols, seed):
    """A 32-bit hash of every element's index."""
    h = numpy.arange(rows * cols, dtype=numpy.uint64) + numpy.uint64(seed * 1000003)
    for factor in (0x9E3779B1, 0x85EBCA77):
        h = (h * numpy.uint64(factor)) & numpy.uint64(0xFFFFFFFF)
        h ^= h >> numpy.uint64(15)
    return h.astype(numpy.int64).reshape(rows, cols)


def weight(rows, cols, seed):
    """By row mod 8: three of ordinary rows, ties, zeros with and without sign, denormals, an outlier, one sign."""
    h = hash_of(rows, cols, seed)
    x = numpy.ldexp((h % 65536 - 32768).astype(numpy.float32), -21 + (h >> 16) % 4)
    kind = numpy.broadcast_to(numpy.arange(rows)[:, None] % 8, h.shape)
    x = numpy.where(kind == 3, (h % 31 - 15).astype(numpy.float32) / 2, x)
    x = numpy.where(kind == 4, numpy.where(h % 2 == 0, numpy.float32(0), numpy.float32(-0.0)), x)
    x = numpy.where(kind == 5, numpy.ldexp((h % 4096 - 2048).astype(numpy.float32), -149), x)
    x = numpy.where((kind == 6) & (h % 97 == 0), numpy.float32(-3000.25), x)
    x = numpy.where(kind == 7, numpy.abs(x), x)
    return torch.from_numpy(x.astype(numpy.float32))


def importance(cols, seed):
    """Of each column: mean squares of inputs from 1 to 1/10000, and every ninth 0."""
    h = hash_of(1, cols, seed + 17)[0]
    x = (h % 1000 + 1).astype(numpy.float32) / numpy.where((h >> 12) % 4 == 0, 1, 1000).astype(numpy.float32)
    return torch.from_numpy(numpy.where(h % 9 == 0, numpy.float32(0), x))


def digest(tensor):
    data = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().astype(numpy.uint64)
    with numpy.errstate(over="ignore"):
        places = numpy.arange(data.size, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15) | numpy.uint64(1)
        return "%016x" % int(((data + numpy.uint64(1)) * places).sum(dtype=numpy.uint64))


def compressed(case):
    dtype = getattr(torch, case["dtype"])
    rows, cols = case["shape"]
    module = torch.nn.Linear(cols, rows, bias=False, dtype=dtype)
    module.weight.data = weight(rows, cols, case["seed"]).to(dtype)
    args = QuantizationArgs(**case["args"])
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format=case["format"])
    initialize_module_for_quantization(module, scheme)
    module.quantization_status = QuantizationStatus.INITIALIZED
    initialize_observer(module, "weight")
    if case.get("importance"):
        module.weight_observer._imatrix_sum = importance(cols, case["seed"])
        module.weight_observer._imatrix_count = torch.tensor(1)
    observe(module, "weight")
    update_qparams(module, "weight")
    module.quantization_status = QuantizationStatus.FROZEN
    compress_module(module)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    decompress_module(module)
    return tensors, module.weight.detach()


def case(format, args, shape, dtype, observer="memoryless_minmax", seed=1):
    return {"format": format, "dtype": dtype, "shape": shape, "seed": seed, "args": args | {"observer": observer}}


def integers(bits, symmetric, strategy, **more):
    return {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": strategy} | more


FP8 = {"num_bits": 8, "type": "float", "symmetric": True}
NVFP4 = {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "tensor_group", "group_size": 16,
         "scale_dtype": "torch.float8_e4m3fn"}
MXFP4 = {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "group", "group_size": 32,
         "scale_dtype": "torch.uint8"}
MXFP8 = MXFP4 | {"num_bits": 8}


def minmax_cases():
    for dtype in ("float32", "bfloat16", "float16"):
        for bits in range(2, 9):
            symmetric = bits % 2 == 0
            yield case("pack-quantized", integers(bits, symmetric, "channel"), SHAPES[bits % 5], dtype, seed=bits)
            yield case("pack-quantized", integers(bits, not symmetric, "group", group_size=32), (342, 512), dtype)
            yield case("int-quantized", integers(bits, not symmetric, "channel"), SHAPES[(bits + 1) % 5], dtype)
        for symmetric in (True, False):
            yield case("pack-quantized", integers(4, symmetric, "group", group_size=128), (342, 512), dtype)
            yield case("pack-quantized", integers(3, symmetric, "tensor"), (128, 33), dtype)
            yield case("pack-quantized", integers(4, symmetric, "block", block_structure=[64, 32]), (512, 100), dtype)
            yield case("naive-quantized", integers(8, symmetric, "block", block_structure=[128, 128]), (830, 545),
                       dtype)
            yield case("int-quantized", integers(8, symmetric, "tensor"), (256, 700), dtype)
        yield case("float-quantized", FP8 | {"strategy": "tensor"}, (256, 700), dtype)
        yield case("float-quantized", FP8 | {"strategy": "channel"}, (830, 545), dtype)
        yield case("naive-quantized", FP8 | {"strategy": "block", "block_structure": [128, 128]}, (830, 545), dtype)
        yield case("nvfp4-pack-quantized", NVFP4, (342, 512), dtype)
        yield case("mxfp4-pack-quantized", MXFP4, (342, 512), dtype)
        yield case("mxfp8-quantized", MXFP8, (342, 512), dtype)


def mse_cases():
    for dtype in ("float32", "bfloat16"):
        for symmetric in (True, False):
            yield case("pack-quantized", integers(4, symmetric, "group", group_size=128), (342, 512), dtype, "mse")
        yield case("int-quantized", integers(8, True, "channel"), (830, 545), dtype, "mse")
        yield case("naive-quantized", FP8 | {"strategy": "channel"}, (830, 545), dtype, "mse")
        yield case("naive-quantized", integers(4, True, "block", block_structure=[64, 32]), (830, 545), dtype, "mse")
        yield case("int-quantized", integers(4, False, "tensor"), (128, 33), dtype, "mse")
        yield case("nvfp4-pack-quantized", NVFP4, (128, 512), dtype, "mse")
        yield case("mxfp4-pack-quantized", MXFP4, (128, 512), dtype, "mse")


def mse_option_cases():
    for dtype in ("float32", "bfloat16"):
        yield case("nvfp4-pack-quantized", NVFP4, (128, 512), dtype, "nvfp4_expanded_mse")
    for kwargs in ({"patience": 1}, {"maxshrink": 0.5, "patience": 20}, {"norm": 2.0, "grid": 50, "maxshrink": 0.4}):
        for dtype in ("float32", "bfloat16"):
            for args, shape in ((integers(8, True, "tensor"), (128, 33)), (integers(3, True, "channel"), (128, 33))):
                yield case("int-quantized", args | {"observer_kwargs": kwargs}, shape, dtype, "mse")


def imatrix_cases():
    def one(*arguments, **kwargs):
        return case(*arguments, **kwargs) | {"importance": True}

    groups = integers(4, True, "group", group_size=128)
    for dtype in ("float32", "bfloat16"):
        yield one("pack-quantized", groups, (342, 512), dtype, "imatrix_mse")
        yield one("pack-quantized", groups | {"symmetric": False}, (342, 512), dtype, "imatrix_mse")
        yield one("int-quantized", integers(8, True, "channel"), (830, 545), dtype, "imatrix_mse")
        yield one("naive-quantized", FP8 | {"strategy": "channel"}, (342, 512), dtype, "imatrix_mse")
        yield one("mxfp4-pack-quantized", MXFP4, (128, 512), dtype, "imatrix_mse")
        yield one("nvfp4-pack-quantized", NVFP4, (128, 512), dtype, "imatrix_mse")
        yield one("nvfp4-pack-quantized", NVFP4, (128, 512), dtype, "nvfp4_expanded_imatrix")
        # Without importance: of one that knows none, and of a strategy that it does not weigh.
        yield case("pack-quantized", groups, (342, 512), dtype, "imatrix_mse")
        yield one("int-quantized", integers(4, False, "tensor"), (128, 33), dtype, "imatrix_mse")
        for kwargs in ({"patience": 0, "maxshrink": 1, "norm": 2}, {"grid": 3, "maxshrink": 0.1}, {"expand": 1.5}):
            yield one("pack-quantized", groups | {"observer_kwargs": kwargs}, (128, 512), dtype, "imatrix_mse")
    yield one("pack-quantized", groups, (342, 512), "float16", "imatrix_mse")


def main():
    cases = []
    for one in minmax_cases():
        tensors, back = compressed(one)
        one["tensors"] = {name: {"shape": list(t.shape), "digest": digest(t)} for name, t in tensors.items()}
        if one["dtype"] == "float32":  # FP4 comes back as bfloat16 even so
            one["back"] = {"dtype": str(back.dtype), "digest": digest(back)}
        cases.append(one)
    for one in [*mse_cases(), *mse_option_cases(), *imatrix_cases()]:
        scale = compressed(one)[0]["weight_scale"].contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        cases.append(one | {"scales": base64.b16encode(scale).decode()})
    text = "[" + ",\n".join(json.dumps(one) for one in cases) + "]\n"
    pathlib.Path(__file__).with_name("codecs.json").write_text(text)


if __name__ == "__main__":
    main()
