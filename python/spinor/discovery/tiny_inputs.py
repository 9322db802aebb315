"""What goes into the forward of a tiny model."""

import inspect

import torch

# What a tower would say: without it the layers that read it are left out.
STATES, STATES_FOR = "cross_attention_states", "cross_attention_layers"
LENGTH = (14, 17)  # tokens, beyond every window, chunk and top-k of the tables of sizes


def text_inputs(model: torch.nn.Module, variant: int, seed: int) -> dict[str, torch.Tensor]:
    """Two rows of tokens, none of them one with a meaning: those stand at both ends of the vocabulary."""
    embeddings = model.get_input_embeddings()
    vocab = embeddings.weight.shape[0] if isinstance(getattr(embeddings, "weight", None), torch.Tensor) else 64
    rows = 2 * getattr(model.config, "num_codebooks", 1)
    generator = torch.Generator().manual_seed(seed)
    inputs = {"input_ids": torch.randint(8, max(16, vocab - 30), (rows, LENGTH[variant]), generator=generator)}
    if getattr(model.config, STATES_FOR, None) and STATES in inspect.signature(model.forward).parameters:
        size = (rows, 5, model.config.hidden_size)
        inputs[STATES] = torch.randn(size, generator=generator, dtype=torch.float64)
    return inputs
