"""An independent reference of learning: losses, gradients and steps as their papers write them, dense, in float64, by
torch's autograd. For `quantization` codes are constants, and scales follow the range of their group in proportion."""

import json
import math
import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from command import ROOT

STEP = Path(os.environ.get("SPINOR_LEARNING_STEP", ""))

# Of the largest entry. Both compute in float64 in another order; Adam divides by the gradient's own size, which makes
# more of that where an entry is small.
BOUND = 1e-6
ROWS, SIZE, GROUP = 200, 64, 16


def psot(y):
    a = (y - y.mean(1, keepdim=True)).abs()
    return ((a / 2).softmax(1) * a).square().sum(1).sqrt()


def grid(kind):
    """What FP4 codes or FP8 scales stand for, 0 and up."""
    exponents, mantissa, bias = {"e2m1": (4, 2, 1), "e4m3": (16, 8, 7)}[kind]
    values = [2.0 ** (max(e, 1) - bias) * (m / mantissa + (e > 0)) for e in range(exponents) for m in range(mantissa)]
    return torch.tensor([v for v in values if v <= 448], dtype=torch.float32)


def nearest(x, values):
    """To nearest; ties to the code whose last bit is 0. Beyond the largest value to that."""
    above = torch.searchsorted(values, x.abs().contiguous()).clamp(1, len(values) - 1)
    to_above, to_below = values[above] - x.abs(), x.abs() - values[above - 1]
    up = (to_above < to_below) | ((to_above == to_below) & (above % 2 == 0))
    return torch.where(up, values[above], values[above - 1]) * x.sign()


def range_of(y, symmetric):
    if symmetric:
        return y.abs().amax(-1, keepdim=True)
    return y.amax(-1, keepdim=True).clamp(min=0) - y.amin(-1, keepdim=True).clamp(max=0)


def integers(y, bits, symmetric):
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    width = range_of(y, symmetric)
    scale = width / ((highest - lowest) / 2 if symmetric else highest - lowest)
    low = y.amin(-1, keepdim=True).clamp(max=0)
    zero = 0 if symmetric else (lowest - low / scale).clamp(lowest, highest).round()
    return ((y / scale + zero).round().clamp(lowest, highest) - zero) * scale


def nvfp4(y):
    scales = grid("e4m3")
    overall = 1 / y.abs().max() * (448 * 6)
    scale = nearest((overall * (range_of(y, True) / 6)).clamp(max=448), scales) / overall
    return nearest(y / scale, grid("e2m1")) * scale


def mxfp4(y):
    """2^e under the largest magnitude, or the next one from 7/8 of it on, fills FP4's largest power of two, 4."""
    fraction, exponent = torch.frexp(range_of(y, True))  # fraction in [1/2, 1)
    exponent = exponent - 1 + (fraction >= 0.875)
    scale = torch.ldexp(torch.ones_like(fraction), exponent - 2)
    return nearest(y / scale, grid("e2m1")) * scale


# name: QuantizationArgs, quantizer of float32 groups, group size, symmetric
TOKEN = {"type": "int", "strategy": "token", "dynamic": True}
GROUPS = {"type": "int", "strategy": "group", "group_size": GROUP, "dynamic": True}
QUANTIZERS = {
    "int4": ({**TOKEN, "num_bits": 4, "symmetric": False}, lambda y: integers(y, 4, False), SIZE, False),
    "int8": ({**TOKEN, "num_bits": 8, "symmetric": False}, lambda y: integers(y, 8, False), SIZE, False),
    "symmetric int4": ({**TOKEN, "num_bits": 4, "symmetric": True}, lambda y: integers(y, 4, True), SIZE, True),
    "grouped int4": ({**GROUPS, "num_bits": 4, "symmetric": False}, lambda y: integers(y, 4, False), GROUP, False),
    "nvfp4": ({"type": "float", "strategy": "tensor_group", "group_size": GROUP, "dynamic": "local", "num_bits": 4,
               "symmetric": True, "scale_dtype": "torch.float8_e4m3fn"}, nvfp4, GROUP, True),
    "mxfp4": ({"type": "float", "strategy": "group", "group_size": 32, "dynamic": True, "num_bits": 4,
               "symmetric": True, "scale_dtype": "torch.uint8"}, mxfp4, 32, True),
}


def quantization(quantize, group, symmetric):
    def losses(y):
        groups = y.reshape(-1, group)
        constant = groups.detach()
        codes = quantize(constant.float()).double() / range_of(constant, symmetric)
        return (codes * range_of(groups, symmetric) - groups).reshape(y.shape).square().mean(1)

    return losses


OBJECTIVES = {
    "psot": psot,
    "range": lambda y: (y.amax(1) - y.amin(1)).square(),
    "whip": lambda y: (-y.abs()).exp().sum(1),
    "weights": lambda y: y.pow(4).sum(1),
    **{f"quantization {name}": quantization(*row[1:]) for name, row in QUANTIZERS.items()},
}


def inputs():
    generator = torch.Generator().manual_seed(3)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    rows = normal(ROWS, SIZE) * (1.5 * normal(SIZE)).exp()
    rows /= rows.square().mean(1, keepdim=True).sqrt()
    rotation = torch.linalg.qr(normal(SIZE, SIZE)).Q
    ones = torch.full((SIZE, 1), SIZE**-0.5, dtype=torch.float64)
    plane = torch.linalg.qr(torch.cat([ones, normal(SIZE, SIZE - 1)], 1)).Q[:, 1:]
    inner = torch.linalg.qr(normal(SIZE - 1, SIZE - 1)).Q
    weights = torch.where(torch.arange(ROWS) % 50 == 0, 30.0, 1.0).double()
    return {"rows": rows, "weights": weights, "rotation": rotation, "ones": ones @ ones.T + plane @ inner @ plane.T}


def loss_and_gradient(losses, given, rotation):
    """The gradient of L(X R (1 + B)) at B = 0."""
    b = torch.zeros(SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    y = given["rows"] @ rotation @ (torch.eye(SIZE, dtype=torch.float64) + b)
    loss = (given["weights"] * losses(y)).sum() / given["weights"].sum()
    loss.backward()
    return loss.detach(), b.grad


def adam(skew, state, rate):
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * skew
    state["v"] = 0.99 * state.get("v", 0) + 0.01 * skew**2
    m, v = state["m"] / (1 - 0.9 ** state["t"]), state["v"] / (1 - 0.99 ** state["t"])
    return -rate * m / (v.sqrt() + 1e-20)


def sgd(skew, state, rate):
    state["m"] = 0.5 * state.get("m", 0) + skew
    return -min(rate, 1 / state["m"].abs().sum(0).max().item()) * state["m"]


# name: what makes B of the skew gradient, learning rate, start
OPTIMIZERS = {"adam": (adam, 0.004, "rotation"), "sgd": (sgd, 1.5, "rotation"), "small sgd": (sgd, 1e-4, "rotation"),
              "ones": (adam, 0.004, "ones")}


def two_steps(losses, given, update, learning_rate, start):
    rotation, state = given[start], {}
    one = torch.eye(SIZE, dtype=torch.float64)
    for t in range(2):
        gradient = loss_and_gradient(losses, given, rotation)[1]
        state["t"] = t + 1
        b = update((gradient - gradient.T) / 2, state, learning_rate * (1 + math.cos(math.pi * t / 10)) / 2)
        if start == "ones":
            projection = one - torch.full((SIZE, SIZE), 1 / SIZE, dtype=torch.float64)
            b = projection @ b @ projection
        rotation = rotation @ torch.linalg.solve(one - b / 2, one + b / 2)
    return rotation


@pytest.fixture(scope="module")
def given():
    return inputs()


@pytest.fixture(scope="module")
def results(given, tmp_path_factory):
    directory = tmp_path_factory.mktemp("learning")
    save_file({name: tensor.contiguous() for name, tensor in given.items()}, directory / "rows.safetensors")
    (directory / "quantizers.json").write_text(json.dumps({name: row[0] for name, row in QUANTIZERS.items()}))
    paths = [directory / name for name in ("rows.safetensors", "quantizers.json", "out.safetensors")]
    done = subprocess.run([STEP, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return load_file(directory / "out.safetensors")


def difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradient(name, given, results):
    loss, gradient = loss_and_gradient(OBJECTIVES[name], given, given["rotation"])
    assert difference(results[f"{name}.loss"], loss) < BOUND
    assert difference(results[f"{name}.gradient"], gradient) < BOUND


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_steps(name, optimizer, given, results):
    expected = two_steps(OBJECTIVES[name], given, *OPTIMIZERS[optimizer])
    start = given[OPTIMIZERS[optimizer][2]]
    # Of the way, too, lest a step that is hardly one pass.
    assert difference(results[f"{name}.{optimizer}"] - start, expected - start) < BOUND


def documented(kind):
    """The objectives of rows, or of the network, in the tables of docs/learning.md."""
    table = (ROOT / "docs" / "learning.md").read_text().split(f"| objective of {kind} |")[1].split("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_no_objective_is_left_out(results):
    assert {name.rsplit(".", 1)[0] for name in results} == set(OBJECTIVES)
    assert {name.split()[0] for name in OBJECTIVES} == documented("rows")
