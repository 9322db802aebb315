"""Sound for tiny models: features of log-mel frames, and tokens that stand for them, beside what else goes in."""

import inspect
from typing import Any

import torch
from transformers import PreTrainedConfig

from spinor.discovery.float64 import widened

Inputs = dict[str, torch.Tensor]
FEATURES = "input_features"
# What a class may call the mask of the frames.
MASKS = ("feature_attention_mask", "input_features_mask", "padding_mask")
SILENT = (0, 2, 4, 6)  # frames at the end, so that each row has as many tokens
AT = 2  # where in the text its tokens stand


def with_audio(model: torch.nn.Module, inputs: Inputs, seed: int) -> Inputs | None:
    """With features that fill the encoder; none where the class takes them in no way that is known."""
    audio = getattr(model.config, "audio_config", None)
    token = getattr(model.config, "audio_token_id", None)
    asked = inspect.signature(model.forward).parameters
    if FEATURES not in asked or not hasattr(audio, "num_mel_bins") or type(token) is not int:
        return None
    rows = len(inputs["input_ids"])
    for silent in SILENT:
        frames = _frames(audio, rows, silent, seed)
        count = _token_count(model, frames)
        if count and count % rows == 0:
            features = {name: value for name, value in frames.items() if name in asked}
            return _inserted(inputs, token, count // rows) | features
    return None


def _frames(audio: PreTrainedConfig, rows: int, silent: int, seed: int) -> Inputs:
    """As many as fill the encoder, the last of them masked."""
    length = 2 * getattr(audio, "max_source_positions", 20)
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn((rows, audio.num_mel_bins, length), generator=generator, dtype=torch.float64)
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[:, length - silent :] = 0
    return {FEATURES: features} | dict.fromkeys(MASKS, mask)


@torch.no_grad()
def _token_count(model: torch.nn.Module, frames: Inputs) -> int:
    """How many tokens the sound becomes."""
    for part in (model, model.base_model):
        if encode := getattr(part, "get_audio_features", None):
            taken = inspect.signature(encode).parameters
            try:
                with widened():
                    found = encode(**{name: value for name, value in frames.items() if name in taken})
            except Exception:  # noqa: BLE001, S112: another signature
                continue
            features: Any = getattr(found, "pooler_output", found)
            return features.numel() // features.shape[-1]
    return 0


def _inserted(inputs: Inputs, token: int, each: int) -> Inputs:
    """The tokens of the sound in each row; what else is told of each token is as for text."""
    ids = inputs["input_ids"]

    def longer(name: str, value: torch.Tensor) -> torch.Tensor:
        if value.shape[:2] != ids.shape or value.is_floating_point():
            return value
        more = value[:, :1].expand(-1, each, *value.shape[2:])
        more = torch.full_like(more, token) if name == "input_ids" else more
        return torch.cat([value[:, :AT], more, value[:, AT:]], 1)

    return {name: longer(name, value) for name, value in inputs.items()}
