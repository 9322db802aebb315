"""A checkpoint of a class that no table has ever seen, with its code: for discovery."""

import json

import torch
import transformers
from safetensors.torch import save_file

# Its own names, order of things and sizes: a fused projection, a norm of 1 + w, a gate, a second norm behind the MLP's
# product, a vector that each layer adds to the stream, linears that config.json counts, a head of fewer rows than the
# embedding; nothing is called as elsewhere.
CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class OddConfig(PretrainedConfig):
    model_type = "odd"

    def __init__(self, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, inner=96, vocab_size=120,
                 sides=2, **more):
        self.sides, self.hidden_size, self.num_hidden_layers = sides, hidden_size, num_hidden_layers
        self.num_attention_heads, self.inner, self.vocab_size = num_attention_heads, inner, vocab_size
        super().__init__(**more)


class OddNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)


class OddBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        size, self.heads = config.hidden_size, config.num_attention_heads
        self.before, self.between = OddNorm(size), OddNorm(size)
        self.mix = nn.Linear(size, 3 * size)
        self.unmix, self.shift = nn.Linear(size, size), nn.Parameter(torch.zeros(size))
        self.wide, self.narrow = nn.Linear(size, 2 * config.inner), nn.Linear(config.inner, size)

    def forward(self, x):
        batch, length, size = x.shape
        q, k, v = self.mix(self.before(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf"))
        x = x + self.unmix((torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, size)) + self.shift
        gate, up = self.wide(self.between(x)).chunk(2, -1)
        return x + self.narrow(torch.tanh(gate) * up){behind}


class OddPreTrainedModel(PreTrainedModel):
    config_class = OddConfig
    base_model_prefix = "body"


class OddBody(OddPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.sides = nn.ModuleList(nn.Linear(config.hidden_size, config.hidden_size) for _ in range(config.sides))
        self.steps = nn.ModuleList(OddBlock(config) for _ in range(config.num_hidden_layers))
        self.last = OddNorm(config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.tokens

    def forward(self, input_ids):
        x = self.tokens(input_ids)
        for side in self.sides:
            x = x + side(x)
        for step in self.steps:
            x = step(x)
        return self.last(x)


class OddForCausalLM(OddPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.body = OddBody(config)
        self.out = nn.Linear(config.hidden_size, config.vocab_size - 8, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.body.tokens

    def get_output_embeddings(self):
        return self.out

    def forward(self, input_ids=None, use_cache=False, **more):
        return CausalLMOutput(logits=self.out(self.body(input_ids)))
"""
MAP = {"AutoConfig": "modeling_odd.OddConfig", "AutoModelForCausalLM": "modeling_odd.OddForCausalLM"}


def make(directory, behind="", dtype=torch.float64):
    """A checkpoint with its code, and random weights."""
    directory.mkdir()
    (directory / "modeling_odd.py").write_text(CODE.format(behind=behind))
    config = {"architectures": ["OddForCausalLM"], "model_type": "odd", "auto_map": MAP, "hidden_size": 64,
              "num_hidden_layers": 3, "num_attention_heads": 4, "inner": 96, "vocab_size": 120, "sides": 2,
              "tie_word_embeddings": False, "dtype": str(dtype).removeprefix("torch.")}
    (directory / "config.json").write_text(json.dumps(config))
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.from_pretrained(directory, trust_remote_code=True), trust_remote_code=True)
    torch.manual_seed(0)
    state = {name: (torch.randn(value.shape) / value.shape[-1] ** 0.5).to(dtype)
             for name, value in model.state_dict().items()}
    save_file(state, directory / "model.safetensors", {"format": "pt"})
    return directory
