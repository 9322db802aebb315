"""What goes into the forward of a tiny model."""

import inspect

import torch

# What a tower would say: without it the layers that read it are left out.
STATES, STATES_FOR = "cross_attention_states", "cross_attention_layers"
# The same of a decoder that has an encoder in other models, and may do without it.
OF_ENCODERS = ("encoder_hidden_states", "encoder_outputs")
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


def with_encoder(model: torch.nn.Module, text: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor] | None:
    """With what an encoder would say; none where the class does not ask for it."""
    asked = inspect.signature(model.forward).parameters
    name = next((one for one in OF_ENCODERS if one in asked and STATES not in text), None)
    config = model.config.get_text_config(decoder=True)
    width = getattr(config, "cross_attention_hidden_size", None) or getattr(config, "hidden_size", None)
    if name is None or not width:
        return None
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn((len(text["input_ids"]), 5, width), generator=generator, dtype=torch.float64)
    return text | {name: states}
