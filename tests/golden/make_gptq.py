"""Writes gptq.json: the codes and losses of llm-compressor's GPTQ for generated weights and inputs.

Weights and inputs come from formulas that gptq_golden_test.cpp repeats. Codes are bytes as spinor has them: integers
biased as pack-quantized stores them, FP8 and FP4 as their bits. Run with requirements-peer.txt (llmcompressor 0.14.0.1,
compressed-tensors 0.19.0, torch 2.13.0): python make_gptq.py
"""

import base64
import json
import pathlib

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.initialize import initialize_module_for_quantization
from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight
from llmcompressor.modifiers.quantization.calibration import initialize_observer
from make_codecs import FP8, MXFP4, NVFP4, hash_of, integers, weight

ROWS, COLS, SAMPLES = 12, 96, 192


def ordinary_weight(seed):
    """The rows of make_codecs' weights that are no special case: three of eight."""
    rows = weight(ROWS // 3 * 8, COLS, seed).view(-1, 8, COLS)
    return rows[:, :3].reshape(ROWS, COLS)


def hessian(seed):
    """X X' of small integers, so exact: inputs that hang together, some of them larger."""
    own = torch.from_numpy(hash_of(COLS, SAMPLES, seed) % 15 - 7)
    shared = torch.from_numpy(hash_of(1, SAMPLES, seed + 1) % 9 - 4)
    inputs = (own + shared) * (1 + torch.arange(COLS) % 5)[:, None]
    return (inputs @ inputs.T).float()


def quantized(case):
    """The weight, its scale, zero point and global scale, and the loss."""
    dtype = getattr(torch, case["dtype"])
    module = torch.nn.Linear(COLS, ROWS, bias=False, dtype=dtype)
    module.weight.data = ordinary_weight(case["seed"]).to(dtype)
    args = QuantizationArgs(**case["args"])
    initialize_module_for_quantization(module, QuantizationScheme(targets=["Linear"], weights=args))
    initialize_observer(module, "weight")
    module.weight_observer(module.weight)
    found = module.weight_observer.get_qparams()
    scale, zero, global_scale = found["scale"], found["zero_point"], found["global_scale"]
    q, loss, fell_back = quantize_weight(
        module.weight.detach().clone()[None],
        hessian(case["seed"])[None].clone(),
        scale[None],
        zero[None],
        None if global_scale is None else global_scale.reshape(1),
        args,
    )
    assert not fell_back.any()
    return q[0].double(), scale.double(), zero.double(), global_scale, loss.item()


def everywhere(values, args):
    """One value for each element, from one for each group."""
    if args.strategy in ("tensor", "channel"):
        return values.reshape(-1, 1).expand(ROWS, COLS)
    down, across = args.block_structure or (1, args.group_size)
    return values.repeat_interleave(down, 0)[:ROWS].repeat_interleave(across, 1)[:, :COLS]


def codes(q, scale, zero, global_scale, args):
    x = q / everywhere(scale / (1 if global_scale is None else global_scale.double()), args) + everywhere(zero, args)
    if args.type == "int":
        assert (x - x.round()).abs().max() < 0.3  # so that rounding to bfloat16 hides no code
        return (x.round() + 2 ** (args.num_bits - 1)).to(torch.uint8)
    if args.num_bits == 8:
        return x.to(torch.float8_e4m3fn).view(torch.uint8)
    magnitudes = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)
    nearest = (x.abs()[..., None] - magnitudes).abs().argmin(-1)
    return (nearest + 8 * q.signbit()).to(torch.uint8)  # x has lost the sign of 0


def cases():
    for dtype in ("float32", "bfloat16"):
        for actorder in (None, "static"):
            for symmetric in (True, False):
                yield dtype, "pack-quantized", integers(4, symmetric, "group", group_size=32, actorder=actorder)
                yield dtype, "pack-quantized", integers(3, symmetric, "channel", actorder=actorder)
                yield dtype, "pack-quantized", integers(4, symmetric, "block", block_structure=[8, 40],
                                                        actorder=actorder)
            yield dtype, "float-quantized", FP8 | {"strategy": "tensor", "actorder": actorder}
            yield dtype, "nvfp4-pack-quantized", NVFP4 | {"actorder": actorder}
            yield dtype, "mxfp4-pack-quantized", MXFP4 | {"actorder": actorder}
    for symmetric in (True, False):
        yield "float32", "pack-quantized", integers(8, symmetric, "channel", actorder="static")


written = []
for seed, (dtype, format, arguments) in enumerate(cases()):
    case = {"format": format, "dtype": dtype, "shape": [ROWS, COLS], "seed": seed + 1, "args": arguments}
    *found, loss = quantized(case)
    found = codes(*found, QuantizationArgs(**arguments)).numpy().tobytes()
    written.append(case | {"loss": loss, "codes": base64.b16encode(found).decode()})
text = "[" + ",\n".join(json.dumps(one) for one in written) + "]\n"
pathlib.Path(__file__).with_name("gptq.json").write_text(text)
