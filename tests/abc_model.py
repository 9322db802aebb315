"""A causal language model of a class that spinor does not know: the oracle for examples/rotate_abc.cpp."""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class AbcConfig(PretrainedConfig):
    model_type = "abc"

    def __init__(self, vocab_size=72, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                 head_dim=20, intermediate_size=80, **more):  # fmt: skip
        super().__init__(**{"tie_word_embeddings": False, **more})
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.num_attention_heads, self.num_key_value_heads = num_attention_heads, num_key_value_heads
        self.head_dim, self.intermediate_size = head_dim, intermediate_size


class AbcNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class AbcAttention(nn.Module):
    """Scores fall with the distance of two tokens, so that positions matter without RoPE."""

    def __init__(self, config):
        super().__init__()
        self.head_dim = config.head_dim
        wide, narrow = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.query = nn.Linear(config.hidden_size, wide, bias=False)
        self.key = nn.Linear(config.hidden_size, narrow, bias=False)
        self.value = nn.Linear(config.hidden_size, narrow)
        self.out = nn.Linear(wide, config.hidden_size)

    def heads(self, x):
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
        steps = torch.arange(x.shape[1], dtype=x.dtype)
        distance = steps[:, None] - steps
        scores = q @ k.transpose(2, 3) / self.head_dim**0.5 - 0.3 * distance
        weights = scores.masked_fill(distance < 0, -torch.inf).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class AbcMlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)).square())


class AbcBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attn_norm, self.attn = AbcNorm(config.hidden_size), AbcAttention(config)
        self.mlp_norm, self.mlp = AbcNorm(config.hidden_size), AbcMlp(config)

    def forward(self, x):
        x = x + self.attn(self.attn_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class AbcForCausalLM(PreTrainedModel):
    config_class = AbcConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(AbcBlock(config) for _ in range(config.num_hidden_layers))
        self.last_norm = AbcNorm(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x)
        return CausalLMOutput(logits=self.head(self.last_norm(x)))
