"""An independent reference of learning from the whole network: a Llama in dense products, whose activations and cache
are quantized between two rotations, in float64, by torch's autograd. Codes are constants: what they are off by moves
in proportion to the range that their scale comes from."""

import json
import math
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import logits
import tiny_models
from learning_reference_test import adam, difference, documented, integers, range_of

PROGRAM = Path(os.environ.get("SPINOR_NETWORK_STEP", ""))
BOUND = 1e-6  # of the largest entry, as in learning_reference_test
OBJECTIVES = ["cross_entropy", "kl"]
HIDDEN, HEAD, INNER, LAYERS, TOKENS = 64, 16, 128, 2, 24
NAMES = ["R1", *(f"R2.{i}" for i in range(LAYERS))]
RATE, STEP = 0.004, 1e-6
float64 = {"dtype": torch.float64}


class Quantizer:
    """int4, asymmetric, a scale a row. Remembers what its codes are off by in units of the range; once frozen, it gives
    the same again, one after the other."""

    def __init__(self):
        self.errors, self.next = [], None

    def freeze(self):
        self.next = 0
        return self

    def __call__(self, y):
        width = range_of(y, False)
        if self.next is None:
            constant = y.detach()
            codes = integers(constant.float(), 4, False).double()
            self.errors.append((codes - constant) / range_of(constant, False))
            return y + self.errors[-1] * width
        self.next += 1
        return y + self.errors[self.next - 1] * width


def hadamard(n):
    h = torch.ones(1, 1, **float64)
    while len(h) < n:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h / math.sqrt(n)


def normed(x, epsilon):
    return x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()


def turned(x, config):
    """RoPE of (tokens, heads, size), angles in float32."""
    rates = 1 / config.rope_parameters["rope_theta"] ** (torch.arange(0, HEAD, 2).float() / HEAD)
    angles = (torch.arange(len(x)).float()[:, None] * rates).unsqueeze(1)
    cos, sin = angles.cos().double(), angles.sin().double()
    a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def between(x, rotation, quantize):
    """x R, quantized, and back; blocks of the size of R."""
    blocks = (*x.shape[:-1], -1, len(rotation))
    made = quantize((x.reshape(blocks) @ rotation).reshape(x.shape))
    return (made.reshape(blocks) @ rotation.T).reshape(x.shape)


class Llama:
    def __init__(self, model):
        self.config, self.state = model.config, model.state_dict()

    def linear(self, name, x):
        bias = self.state.get(f"{name}.bias")
        return x @ self.state[f"{name}.weight"].T + (0 if bias is None else bias)

    def logits(self, tokens, rotations=None, quantize=None):
        """Of one sample; without rotations nothing is quantized."""
        quantized = lambda x, r: between(x, r, quantize) if rotations else x
        stream = self.state["model.embed_tokens.weight"][tokens]
        for i in range(LAYERS):
            stream = self.layer(f"model.layers.{i}", stream, quantized, rotations and rotations[f"R2.{i}"],
                                rotations and rotations["R1"])
        x = normed(stream, self.config.rms_norm_eps) * self.state["model.norm.weight"]
        return x @ self.state["model.embed_tokens.weight"].T

    def layer(self, name, stream, quantized, r2, r1):
        def read(norm):
            x = quantized(normed(stream, self.config.rms_norm_eps), r1)
            return x * self.state[f"{name}.{norm}.weight"]

        x = read("input_layernorm")
        q, k, v = (self.linear(f"{name}.self_attn.{p}_proj", x).reshape(len(x), -1, HEAD) for p in "qkv")
        k, v = quantized(turned(k, self.config), hadamard(HEAD)), quantized(v, r2)
        shared = q.shape[1] // k.shape[1]
        q, k, v = (t.transpose(0, 1) for t in (turned(q, self.config), k.repeat_interleave(shared, 1),
                                               v.repeat_interleave(shared, 1)))
        scores = q @ k.transpose(1, 2) / math.sqrt(HEAD)
        hidden = torch.triu(torch.ones(len(x), len(x), dtype=torch.bool), 1)
        mixed = (scores.masked_fill(hidden, -math.inf).softmax(-1) @ v).transpose(0, 1).reshape(len(x), -1)
        stream = stream + self.linear(f"{name}.self_attn.o_proj", quantized(mixed, r2))
        x = read("post_attention_layernorm")
        gate, up = (self.linear(f"{name}.mlp.{p}_proj", x) for p in ("gate", "up"))
        inner = torch.nn.functional.silu(gate) * up
        return stream + self.linear(f"{name}.mlp.down_proj", quantized(inner, hadamard(INNER)))


def loss_of(objective, found, expected, tokens):
    found, expected = found[:-1].log_softmax(-1), expected[:-1].log_softmax(-1)
    if objective == "kl":
        return (expected.exp() * (expected - found)).sum(-1).mean()
    return -found.gather(1, tokens[1:, None]).mean()


def loss_at(objective, llama, tokens, rotations, quantize=None):
    return loss_of(objective, llama.logits(tokens, rotations, quantize or Quantizer()), llama.logits(tokens), tokens)


def loss_and_gradient(objective, llama, tokens, rotations):
    """The gradient of each R (1 + B) at B = 0."""
    turns = {name: torch.zeros(len(r), len(r), **float64, requires_grad=True) for name, r in rotations.items()}
    moved = {name: r + r @ turns[name] for name, r in rotations.items()}
    loss = loss_at(objective, llama, tokens, moved)
    loss.backward()
    return loss.detach(), {name: turn.grad for name, turn in turns.items()}


def two_steps(objective, llama, tokens, rotations):
    states = {name: {} for name in rotations}
    for t in range(2):
        gradients = loss_and_gradient(objective, llama, tokens, rotations)[1]
        for name, gradient in gradients.items():
            states[name]["t"] = t + 1
            rate = RATE * (1 + math.cos(math.pi * t / 2)) / 2
            b, one = adam((gradient - gradient.T) / 2, states[name], rate), torch.eye(len(gradient), **float64)
            rotations = rotations | {name: rotations[name] @ torch.linalg.solve(one - b / 2, one + b / 2)}
    return rotations


def orthogonal(seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = {name: HIDDEN if name == "R1" else HEAD for name in NAMES}
    draw = lambda n: torch.linalg.qr(torch.randn(n, n, generator=generator, **float64)).Q.contiguous()
    return {name: draw(n) for name, n in sizes.items()}


@pytest.fixture(scope="module")
def model():
    return tiny_models.make("llama", "power_of_two")


@pytest.fixture(scope="module")
def llama(model):
    return Llama(model)


@pytest.fixture(scope="module")
def samples():
    return torch.randint(3, 72, (2, TOKENS), generator=torch.Generator().manual_seed(9))


START = orthogonal(2)


@pytest.fixture(scope="module")
def results(model, samples, tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    model.save_pretrained(directory / "model")
    save_file(orthogonal(1), directory / "drawn.safetensors")
    save_file(START, directory / "start.safetensors")
    (directory / "tokens.json").write_text(json.dumps(samples.tolist()))
    names = ("model", "drawn.safetensors", "start.safetensors", "tokens.json", "out.safetensors")
    done = subprocess.run([PROGRAM, *(directory / name for name in names)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return load_file(directory / "out.safetensors")


def test_the_reference_is_the_model(model, llama, samples):
    expected = logits.logits(model, samples[:1])[0]
    assert difference(llama.logits(samples[0]), expected) < 1e-12


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_reference_has_the_gradient_of_its_loss(llama, samples, objective):
    """Central differences with the codes frozen, along a direction of each rotation. The step is so small that extremes
    of rows stay where they are; rounding is 1e-16 of the losses over it."""
    gradients = loss_and_gradient(objective, llama, samples[0], START)[1]
    quantize = Quantizer()
    loss_at(objective, llama, samples[0], START, quantize)
    for name, gradient in gradients.items():
        skew = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(4), **float64)

        def moved(step):
            r = START | {name: START[name] @ (torch.eye(len(skew), **float64) + step * skew)}
            return loss_at(objective, llama, samples[0], r, quantize.freeze())

        expected = (moved(STEP) - moved(-STEP)) / (2 * STEP)
        assert abs((gradient * skew).sum() / expected - 1) < 1e-6, name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_and_gradient(llama, samples, results, objective):
    loss, gradients = loss_and_gradient(objective, llama, samples[0], START)
    assert difference(results[f"{objective}.loss"], loss) < BOUND
    for name, gradient in gradients.items():
        assert difference(results[f"{objective}.gradient.{name}"], gradient) < BOUND, name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_steps(llama, samples, results, objective):
    expected = two_steps(objective, llama, samples[0], START)
    for name, start in START.items():
        # Of the way, too, lest a step that is hardly one pass.
        assert difference(results[f"{objective}.steps.{name}"] - start, expected[name] - start) < BOUND, name
    held_out = [loss_at(objective, llama, samples[1], r) for r in (orthogonal(1), START, expected)]
    assert difference(results[f"{objective}.held_out"], torch.stack(held_out)) < BOUND


def test_no_objective_is_left_out(results):
    assert {name.split(".")[0] for name in results} == set(OBJECTIVES) == documented("the network")
