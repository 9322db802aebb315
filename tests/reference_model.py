"""A dense decoder in plain torch, with rotations and simulated quantization: what spinor's runtime is tested against.

It shares nothing with spinor, nor with transformers' models: a checkpoint directory is read as it lies, every rotation
is a dense product, and nothing is made fast. It is itself tested against transformers and compressed-tensors.

    python tests/reference_model.py MODEL TEXT --weights 4,mse --activations 4,asymmetric --kv 4,asymmetric
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from reference_checkpoint import LINEARS, READERS, WRITERS, blocks, read, stored_transforms

FAMILIES = {"llama", "mistral", "qwen2", "qwen3", "granite", "smollm3"}


@dataclass(frozen=True)
class Quantizer:
    """Quantizes and dequantizes every row of a tensor, or groups of its elements, with compressed-tensors' formulas.

    A row is what has a scale: an output channel of a weight, a token's activations, a token's key or value of one head.
    """

    bits: int
    symmetric: bool = True
    group: int | None = None  # elements that share a scale; None: the row
    clip: float = 1.0  # the range is multiplied by it first
    mse: bool = False  # search the range of least error, as llm-compressor's observer

    @property
    def limits(self):
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1

    @torch.no_grad()
    def __call__(self, x):
        groups = x.unflatten(-1, (-1, self.group or x.shape[-1]))
        low, high = self.range(groups)
        return self.round(groups, *self.scale(low, high)).flatten(-2)

    def range(self, groups):
        low = groups.amin(-1, keepdim=True) * self.clip
        high = groups.amax(-1, keepdim=True) * self.clip
        return self.search(groups, low, high) if self.mse else (low, high)

    def scale(self, low, high):
        """Scale and zero point of a range, which is widened to include zero. A scale is never zero."""
        bottom, top = self.limits
        low, high = low.clamp(max=0), high.clamp(min=0)
        if self.symmetric:
            scale, zero = torch.maximum(-low, high) / ((top - bottom) / 2), torch.zeros_like(low)
        else:
            scale = (high - low) / (top - bottom)
            zero = (bottom - low / scale).clamp(bottom, top).round().nan_to_num(0)  # 0 / 0 where all is zero
        return torch.where(scale == 0, torch.finfo(scale.dtype).eps, scale), zero

    def round(self, x, scale, zero):
        """Halves go to even; the zero point is added before the rounding."""
        return ((x / scale + zero).clamp(*self.limits).round() - zero) * scale

    def search(self, groups, low, high, maxshrink=0.2, grid=100, norm=2.4, patience=5):
        """Of each group the shrunk range of least sum |error|^norm. Ends when no group has improved for a while."""
        best = torch.full_like(low, torch.finfo(low.dtype).max)
        best_low, best_high, stale = low, high, 0
        for step in range(int(maxshrink * grid)):
            shrunk_low, shrunk_high = (bound * (1 - step / grid) for bound in (low, high))
            rounded = self.round(groups, *self.scale(shrunk_low, shrunk_high))
            error = (rounded - groups).abs().pow(norm).sum(-1, keepdim=True)
            better = error < best
            best = torch.where(better, error, best)
            best_low = torch.where(better, shrunk_low, best_low)
            best_high = torch.where(better, shrunk_high, best_high)
            stale = 0 if better.any() else stale + 1
            if stale == patience:
                break
        return best_low, best_high


class Reference:
    """A checkpoint as a function from tokens to logits, in one dtype throughout.

    rotations: {"R1": matrix, ...}, orthogonal; x -> x R. A matrix smaller than what it acts on is repeated as blocks;
    R2 may be a list, one a layer. R1, R2 and the way back of R4 are folded into the weights, in float64. Transforms
    that act while the model runs and are stored in the checkpoint are applied without being asked for.

    weights: a Quantizer of the layers' linears, after rotation. activations: of their inputs, after R4.
    keys: after RoPE and R3. values: behind v_proj. The head, the embedding and the queries are never quantized.
    """

    def __init__(
        self, directory, dtype=torch.float32, rotations=None, weights=None, activations=None, keys=None, values=None
    ):
        self.config = json.loads((Path(directory) / "config.json").read_text())
        self.activations, self.keys, self.values = activations, keys, values
        check(self.config)
        self.layers = [f"model.layers.{layer}." for layer in range(self.config["num_hidden_layers"])]
        self.heads = self.config["num_attention_heads"]
        self.head_dim = self.config.get("head_dim") or self.config["hidden_size"] // self.heads
        tensors = read(directory, self.config)
        # {(module, location): matrix}
        self.online = stored_transforms(self.config, tensors, self.layers, self.head_dim)
        if rotations:
            assert not self.online, "the checkpoint has transforms of its own"
            tensors = {name: tensor.double() for name, tensor in tensors.items()}
            fold_norms(tensors, self.layers)
            self.online = fold_rotations(tensors, self.layers, self.head_dim, **rotations)
        self.tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        self.online = {key: matrix.to(dtype) for key, matrix in self.online.items()}
        if weights:
            for name in (f"{layer}{linear}.weight" for layer in self.layers for linear in LINEARS):
                self.tensors[name] = weights(self.tensors[name])

    @torch.no_grad()
    def logits(self, tokens):
        x = self.tensors["model.embed_tokens.weight"][tokens] * self.multiplier("embedding_multiplier")
        for index, layer in enumerate(self.layers):
            for norm, block in ("input_layernorm", self.attention), ("post_attention_layernorm", self.mlp):
                x = x + block(index, self.norm(layer + norm, x)) * self.multiplier("residual_multiplier")
        return self.linear("lm_head", self.norm("model.norm", x)) / self.multiplier("logits_scaling")

    def multiplier(self, key):
        """Granite's; the others have none."""
        return self.config.get(key, 1.0)

    def norm(self, name, x):
        scaled = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return self.tensors[name + ".weight"] * scaled

    def linear(self, name, x):
        x = self.transform(name, "input", x)
        if self.activations and name != "lm_head":
            x = self.activations(x)
        y = x @ self.tensors[name + ".weight"].T
        if name + ".bias" in self.tensors:
            y = y + self.tensors[name + ".bias"]
        return self.transform(name, "output", y)

    def transform(self, module, location, x):
        matrix = self.online.get((module, location))
        return x if matrix is None else x @ matrix

    def mlp(self, index, x):
        gate, up, down = (f"{self.layers[index]}mlp.{name}_proj" for name in ("gate", "up", "down"))
        return self.linear(down, torch.nn.functional.silu(self.linear(gate, x)) * self.linear(up, x))

    def attention(self, index, x):
        module = self.layers[index] + "self_attn"
        query, key = (self.query_or_key(index, name, x) for name in ("q", "k"))
        value = self.split(self.linear(module + ".v_proj", x))
        query, key = self.transform(module, "q_attn", query), self.transform(module, "k_cache", key)
        key = self.keys(key) if self.keys else key
        value = self.values(value) if self.values else value
        key, value = (y.repeat_interleave(self.heads // y.shape[-3], -3) for y in (key, value))
        scores = (query @ key.transpose(-1, -2)) * self.attention_scale()
        scores = scores.masked_fill(~visible(x.shape[-2], window(self.config, index)), -math.inf)
        return self.linear(module + ".o_proj", (scores.softmax(-1) @ value).transpose(-3, -2).flatten(-2))

    def query_or_key(self, index, name, x):
        module = f"{self.layers[index]}self_attn.{name}_"
        x = self.split(self.linear(module + "proj", x))
        if module + "norm.weight" in self.tensors:
            x = self.norm(module + "norm", x)
        return rope(x, self.config) if has_rope(self.config, index) else x

    def split(self, x):
        """[..., tokens, heads * head_dim] to [..., heads, tokens, head_dim]"""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(-3, -2)

    def attention_scale(self):
        return self.config["attention_multiplier"] if self.config["model_type"] == "granite" else self.head_dim**-0.5


# What config.json says.


def check(config):
    assert config["model_type"] in FAMILIES, config["model_type"]
    assert config.get("hidden_act", "silu") == "silu", config["hidden_act"]


def has_rope(config, layer):
    """SmolLM3's no_rope_layers has a 1 where there is RoPE; its default leaves out every fourth layer."""
    if config["model_type"] != "smollm3":
        return True
    flags = config.get("no_rope_layers")
    return bool(flags[layer]) if flags else (layer + 1) % config.get("no_rope_layer_interval", 4) != 0


def window(config, layer):
    """How many tokens back a layer sees, itself included; None: all."""
    if config["model_type"] == "mistral":
        return config.get("sliding_window", 4096)
    sliding = config.get("use_sliding_window") and config["layer_types"][layer] == "sliding_attention"
    return config["sliding_window"] if sliding else None


def visible(tokens, window):
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
    return (distance >= 0) & (distance < (window or tokens))


def frequencies(config, head_dim):
    """In float32 whatever the model's dtype, as transformers has them: they are part of what a model is."""
    rope = config.get("rope_parameters") or {"rope_theta": config["rope_theta"], **(config.get("rope_scaling") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    frequency = 1.0 / (rope["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
    if kind == "linear":
        return frequency / rope["factor"]
    if kind == "llama3":
        return llama3_frequencies(frequency, rope)
    assert kind == "default" and rope.get("partial_rotary_factor", 1.0) == 1.0, rope
    return frequency


def llama3_frequencies(frequency, rope):
    """Long waves are slowed down by `factor`, short ones kept, those between interpolated."""
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    turns = rope["original_max_position_embeddings"] / (2 * math.pi / frequency)
    smooth = (turns - low) / (high - low)
    between = (1 - smooth) * frequency / factor + smooth * frequency
    return torch.where(turns < low, frequency / factor, torch.where(turns > high, frequency, between))


def rope(x, config):
    angles = torch.arange(x.shape[-2], dtype=torch.float32)[:, None] * frequencies(config, x.shape[-1])
    cos, sin = (torch.cat([y, y], -1).to(x.dtype) for y in (angles.cos(), angles.sin()))
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


# Rotations that we fold.


def fold_norms(tensors, layers):
    """The gain of a norm moves into the linears behind it."""
    for layer in layers:
        for norm, readers in READERS.items():
            fold_norm(tensors, layer + norm, [layer + reader for reader in readers])
    fold_norm(tensors, "model.norm", ["lm_head"])


def fold_norm(tensors, norm, readers):
    gain = tensors[norm + ".weight"]
    for reader in (reader + ".weight" for reader in readers):
        tensors[reader] = tensors[reader] * gain  # not in place: the head may be the embedding
    tensors[norm + ".weight"] = torch.ones_like(gain)


def rotate_input(tensors, linear, matrix):
    weight = tensors[linear + ".weight"]
    tensors[linear + ".weight"] = weight @ blocks(matrix, weight.shape[1])


def rotate_output(tensors, linear, matrix):
    for name in (name for name in (linear + ".weight", linear + ".bias") if name in tensors):
        tensors[name] = blocks(matrix, len(tensors[name])).T @ tensors[name]


def fold_rotations(tensors, layers, head_dim, R1=None, R2=None, R3=None, R4=None):  # noqa: N803
    """Rotates the weights; returns what is left to do while the model runs."""
    online = {}
    if R1 is not None:
        rotate_input(tensors, "model.embed_tokens", R1)  # E R1: rows are what the stream begins with
        rotate_input(tensors, "lm_head", R1)
    for index, layer in enumerate(layers):
        if R1 is not None:
            for reader in (layer + reader for readers in READERS.values() for reader in readers):
                rotate_input(tensors, reader, R1)
            for writer in WRITERS:
                rotate_output(tensors, layer + writer, R1)
        if R2 is not None:
            of_layer = R2[index] if isinstance(R2, list) else R2
            rotate_output(tensors, layer + "self_attn.v_proj", of_layer)
            rotate_input(tensors, layer + "self_attn.o_proj", of_layer)
        if R3 is not None:
            online |= {(layer + "self_attn", location): blocks(R3, head_dim) for location in ("q_attn", "k_cache")}
        if R4 is not None:
            down = layer + "mlp.down_proj"
            rotate_input(tensors, down, R4)
            online[down, "input"] = blocks(R4, tensors[down + ".weight"].shape[1])
    return online


# Perplexity.


def windows(directory, text, context, samples):
    """(samples, context) tokens: the text as it is, without special tokens, cut into pieces that do not overlap."""
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(Path(directory) / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    count = min(samples, len(tokens) // context)
    return torch.tensor(tokens[: count * context]).reshape(count, context)


def perplexity(model, windows):
    """Of all tokens of all windows but each window's first, which nothing precedes."""
    losses = []
    for tokens in windows:
        log_likelihood = model.logits(tokens[:-1]).log_softmax(-1)
        losses.append(-log_likelihood.gather(-1, tokens[1:, None]).flatten().double())
    return torch.cat(losses).mean().exp().item()


def quantizer(text):
    """BITS[,asymmetric][,mse][,group=N][,clip=X]"""
    bits, *words = text.split(",")
    options = dict(word.split("=") for word in words if "=" in word)
    return Quantizer(
        int(bits),
        symmetric="asymmetric" not in words,
        mse="mse" in words,
        group=int(options["group"]) if "group" in options else None,
        clip=float(options.get("clip", 1)),
    )


def main():
    parser = argparse.ArgumentParser(description="Perplexity of a checkpoint", epilog=f"QUANTIZER: {quantizer.__doc__}")
    parser.add_argument("model", help="a checkpoint directory")
    parser.add_argument("text", help="a text file")
    parser.add_argument("--context", type=int, default=512, help="tokens of a window")
    parser.add_argument("--samples", type=int, default=20, help="windows")
    parser.add_argument("--dtype", default="float32")
    for name in ("weights", "activations", "kv"):
        parser.add_argument(f"--{name}", type=quantizer, metavar="QUANTIZER")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    model = Reference(
        arguments.model,
        getattr(torch, arguments.dtype),
        weights=arguments.weights,
        activations=arguments.activations,
        keys=arguments.kv,
        values=arguments.kv,
    )
    text = Path(arguments.text).read_text(encoding="utf-8")
    print(perplexity(model, windows(arguments.model, text, arguments.context, arguments.samples)))


if __name__ == "__main__":
    main()
