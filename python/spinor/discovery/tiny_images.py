"""Images for tiny models: pixel values in the shape that a class takes, and tokens that stand for them.

How a class takes images shows in what its forward and its config name. STYLES lists the ways; the first that the class
takes, and in which its logits depend on the pixels, is used. Two images, one a row.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import PreTrainedConfig

from spinor.discovery.float64 import widened

Inputs = dict[str, torch.Tensor]
ROWS = 2


class Asked:
    """What a model says about its images: the names that its forward takes, and the sizes of its vision config."""

    def __init__(self, model: torch.nn.Module, seed: int):
        self.names = frozenset(inspect.signature(model.forward).parameters)
        config = model.config
        vision = next((x for k, x in vars(config).items() if re.search("vis|vq_", k) and _is_config(x)), config)
        vision = getattr(vision, "sam_config", vision)
        self.patch = _first(vision, "model_patch_size", 0) or _first(vision, "patch_size", 4)
        self.side = _first(vision, "image_size", 4 * self.patch)
        self.merge = _first(vision, "spatial_merge_size", 0) or _first(vision, "merge_size", 0) or 2
        self.time = _first(vision, "temporal_patch_size", 0) or _first(vision, "patch_temporal", 0) or 1
        self.channels = _first(vision, "num_channels", 0) or _first(vision, "in_channels", 3)
        self.generator = torch.Generator().manual_seed(seed)

    def pixels(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)


def _is_config(value: Any) -> bool:
    return isinstance(value, PreTrainedConfig)


def _first(config: PreTrainedConfig, key: str, default: int) -> int:
    value = getattr(config, key, None) or default
    return value[0] if isinstance(value, list | tuple) else value


def _grid(asked: Asked, *patch: int) -> Inputs:
    """Patches of all images below one another, and the grid of each: time, height, width."""
    high, wide = 2 * asked.merge, 3 * asked.merge
    told = {"image_merge_sizes": torch.tensor([asked.merge] * ROWS)}
    return {
        "pixel_values": asked.pixels(ROWS * high * wide, *patch),
        "image_grid_thw": torch.tensor([[1, high, wide]] * ROWS),
        **{k: v for k, v in told.items() if k in asked.names},
    }


def _flat_grid(asked: Asked) -> Inputs:
    """Patches of all images below one another, and the height and width of each."""
    found = _grid(asked, asked.channels * asked.patch**2)
    return {"pixel_values": found["pixel_values"], "image_grid_hw": found["image_grid_thw"][:, 1:]}


def _tiles(asked: Asked) -> Inputs:
    """Tiles of each image, and which of them there are."""
    pixels = asked.pixels(ROWS, 1, asked.channels, asked.side, asked.side)
    return {"pixel_values": pixels, "pixel_attention_mask": torch.ones(ROWS, 1, dtype=torch.bool)}


def _patches(asked: Asked) -> tuple[torch.Tensor, int]:
    across = max(2, asked.side // asked.patch)
    return asked.pixels(ROWS, across**2, asked.channels * asked.patch**2), across


def _placed(asked: Asked) -> Inputs:
    """Patches of each image in a row, and where in it each stands."""
    pixels, across = _patches(asked)
    places = torch.cartesian_prod(torch.arange(across), torch.arange(across)).flip(-1)
    return {"pixel_values": pixels, "image_position_ids": places.expand(ROWS, -1, -1).clone()}


def _pooled(asked: Asked) -> Inputs:
    """Patches of each image in a row, and the four of them that become one token."""
    pixels, across = _patches(asked)
    tokens = torch.arange(ROWS * across**2).reshape(-1, 4)
    grids = torch.tensor([[0, 0, 1, across**2 // 4]] * ROWS)
    return {"pixel_values": pixels, "image_token_pooling": tokens, "image_grids": grids}


def _plain(asked: Asked) -> Inputs:
    """Patches of each image in a row."""
    return {"pixel_values": _patches(asked)[0]}


def _shaped(asked: Asked) -> Inputs:
    """Patches of each image in a row, and how many are on either side."""
    pixels, across = _patches(asked)
    shapes = torch.tensor([[across, across]] * ROWS)
    return {
        "pixel_values": pixels,
        "spatial_shapes": shapes,
        "pixel_attention_mask": torch.ones(pixels.shape[:2], dtype=torch.long),
    }


def _strips(asked: Asked) -> Inputs:
    """Patches of all images side by side in one strip, and the grid of each."""
    across = 4 * asked.merge
    pixels = asked.pixels(1, asked.channels, asked.patch, ROWS * across**2 * asked.patch)
    return {"pixel_values": pixels, "target_sizes": torch.tensor([[across, across]] * ROWS)}


def _square(*before: int, told: bool = True) -> Callable[[Asked], Inputs]:
    """Images as they are, with these axes (such as tiles) between the rows and the channels, and what else the class
    may want to be told about them."""

    def made(asked: Asked) -> Inputs:
        pixels = asked.pixels(ROWS, *before, asked.channels, asked.side, asked.side)
        sizes = torch.tensor([[asked.side, asked.side]] * ROWS)
        others = {
            "image_sizes": sizes,
            "high_res_pixel_values": asked.pixels(ROWS, asked.channels, asked.side, asked.side),
            "qformer_input_ids": torch.tensor([[9, 10, 11]] * ROWS),
            "num_local_patches": torch.zeros(ROWS, dtype=torch.long),
            "aspect_ratio_ids": torch.ones(ROWS, 1, dtype=torch.long),
            "aspect_ratio_mask": torch.ones(ROWS, 1, before[-1] if before else 1, dtype=torch.long),
        }
        return {"pixel_values": pixels, **{k: v for k, v in others.items() if told and k in asked.names}}

    return made


# What the names of a forward must hold, and how the pixels are then given.
STYLES: tuple[tuple[str, Callable[[Asked], Inputs]], ...] = (
    ("image_grid_thw", lambda a: _grid(a, a.channels * a.time * a.patch**2)),
    ("image_grid_thw", lambda a: _grid(a, a.channels, a.patch, a.patch)),
    ("image_grid_thw", lambda a: _grid(a, a.channels * a.patch**2)),
    ("image_grid_thw", lambda a: _grid(a, a.channels, a.time, a.patch, a.patch)),
    ("image_grid_thw", lambda a: _grid(a, a.merge * a.patch, a.merge * a.patch, a.channels)),
    ("image_grid_hw", _flat_grid),
    ("tile_fine_mask", _tiles),
    ("image_position_ids", _placed),
    ("image_token_pooling", _pooled),
    ("spatial_shapes", _shaped),
    ("target_sizes", _strips),
    ("aspect_ratio_ids", _square(1, 4)),
    ("pixel_values", _square()),
    ("image_sizes", _square(told=False)),
    ("pixel_values", _square(1)),
    ("pixel_values", _square(3)),
    ("pixel_values", _plain),
)


def with_images(model: torch.nn.Module, text: Inputs, seed: int) -> Iterator[Inputs]:
    """The ways to give images that `model` may take, the likeliest first."""
    asked = Asked(model, seed)
    for name, style in STYLES:
        if name not in asked.names:
            continue
        images = style(asked)
        count = _feature_count(model, images, text)
        if count is not None:
            yield _inputs(model, asked, images, text["input_ids"], count)


@torch.no_grad()
def _feature_count(model: torch.nn.Module, images: Inputs, text: Inputs) -> int | None:
    """How many tokens the images become: as many as there are features; none where they enter by attention."""
    if image_token(model.config) is None:
        return 0
    encode = getattr(model, "get_image_features", None) or getattr(model.base_model, "get_image_features", None)
    try:
        with widened():
            found = encode(**{k: v for k, v in images.items()}) if encode else None
            if found is not None:
                return _rows(getattr(found, "pooler_output", found))
    except Exception:  # noqa: BLE001, S110: another signature, or another style
        pass
    try:
        with widened():
            model(**text, **images, use_cache=False)
    except Exception as error:  # noqa: BLE001: what it says about the numbers
        said = re.search(r"features:? *(\d+)", str(error))
        return int(said[1]) if said else None
    return 0


def _rows(features: Any) -> int:
    if isinstance(features, torch.Tensor):
        return features.numel() // features.shape[-1]
    return sum(_rows(x) for x in features)


def image_token(config: PreTrainedConfig) -> int | None:
    keys = ("image_token_id", "image_token_index", "image_patch_id", "media_placeholder_token_id")
    return next((getattr(config, k) for k in keys if type(getattr(config, k, None)) is int), None)


def _inputs(model: torch.nn.Module, asked: Asked, images: Inputs, ids: torch.Tensor, count: int) -> Inputs:
    """Tokens for the images between those of the text, and what the class wants to be told about each token."""
    each = count // ROWS
    if "image_embeds_position_mask" in asked.names:
        each = getattr(model.config, "latent_query_num", 0)
    token = image_token(model.config)
    ids = torch.cat([ids[:, :4], torch.full((ROWS, each), 9 if token is None else token), ids[:, 4:]], 1)
    of_images = torch.zeros_like(ids)
    of_images[:, 4 : 4 + each] = 1
    told = {
        "image_embeds_position_mask": of_images,
        "mm_token_type_ids": of_images,
        "moe_mm_token_type_ids": of_images,
        "token_type_ids": of_images,
        "image_attention_mask": torch.ones(*ids.shape, 1, dtype=torch.long),
        "cross_attention_mask": torch.ones(*ids.shape, 1, 4, dtype=torch.long),
    }
    return {"input_ids": ids, **images, **{k: v for k, v in told.items() if k in asked.names}}
