"""Names and shapes of what save_pretrained would write of a class with a config of real sizes. No weights are made."""

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig
from transformers.core_model_loading import revert_weight_conversion

from spinor.discovery.file_names import saved_state
from spinor.discovery.tiny_sizes import TEXT_WIDTH, TEXT_WIDTH_IF

AUTO = {"causal": AutoModelForCausalLM, "image-text": AutoModelForImageTextToText}


def fitting(config):
    """Default configs put towers of one model beside the text of another."""
    width = config.get_text_config(decoder=True).hidden_size
    for part in vars(config).values():
        for key in TEXT_WIDTH | TEXT_WIDTH_IF:
            if isinstance(part, PreTrainedConfig) and isinstance(getattr(part, key, None), int):
                setattr(part, key, width)
    return config


def shapes_of(config, kind):
    """The config and the name of the class, and the shapes by the names in files."""
    with torch.device("meta"):
        model = AUTO[kind].from_config(config, dtype=torch.bfloat16)
        saved = revert_weight_conversion(model, saved_state(model))
    return model.config, type(model).__name__, {name: tuple(tensor.shape) for name, tensor in saved.items()}
