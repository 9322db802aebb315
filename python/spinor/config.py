"""compressed-tensors' objects: what spinor takes, and gives back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spinor._fields import Fields, plain


class TransformArgs(Fields):
    """Where a transform acts: targets, location (input, weight_input, ...), inverse, ignore."""

    _fields = {"targets": ..., "location": ..., "inverse": False, "ignore": []}


class TransformScheme(Fields):
    """A kind of matrix and where it acts: type, apply, randomize, requires_grad, head_dim, precision."""

    _fields = {"type": ..., "apply": [], "randomize": False, "requires_grad": False, "head_dim": None,
               "block_size": None, "precision": "float32"}


class TransformConfig(Fields):
    """config_groups: schemes by name."""

    _fields = {"config_groups": ...}


class QuantizationScheme(Fields):
    """How targets are quantized: targets, weights, input_activations, output_activations, format."""

    _fields = {"targets": ..., "weights": None, "input_activations": None, "output_activations": None, "format": None}


def to_compressed_tensors(config: Any) -> Any:
    """The same as compressed-tensors' object."""
    from compressed_tensors.quantization import QuantizationScheme as Scheme
    from compressed_tensors.transform import TransformArgs as Args
    from compressed_tensors.transform import TransformConfig as Transforms
    from compressed_tensors.transform import TransformScheme as Transform

    classes = {TransformArgs: Args, TransformScheme: Transform, TransformConfig: Transforms, QuantizationScheme: Scheme}
    return classes[type(config)].model_validate(config.to_dict())


def apply_transform_config(model: Any, config: Any, **arguments: Any) -> Any:
    """Applies it to a model in memory, as rotate_model() does: weights where they are, the rest attached as modules.

        config = TransformConfig(config_groups={"R4": {"type": "hadamard", "apply": [
            {"targets": ["re:.*down_proj$"], "location": "input"},
            {"targets": ["re:.*down_proj$"], "location": "weight_input", "inverse": True}]}})
        spinor.apply_transform_config(model, config)

    config: spinor's, compressed-tensors' or a dict. Returns, and raises, as rotate_model().
    """
    from spinor.memory import rotate_model

    return rotate_model(model, recipe={"SpinQuantModifier": {"transform_config": plain(config)}}, **arguments)


def match_named_modules(
    model: Any, targets: Iterable[str], ignore: Sequence[str] = ()
) -> Iterator[tuple[str, Any]]:
    """(name, module) of those that a target names and no entry of `ignore` does: by name, by the class or a parent of
    it, or by re:, a regex that matches from the name's start.

        names = [name for name, module in spinor.match_named_modules(model, ["Linear"], ["lm_head"])]
    """
    targets = list(targets)
    for name, module in model.named_modules():
        if any(_matches(name, module, t) for t in targets) and not any(_matches(name, module, t) for t in ignore):
            yield name, module


def _matches(name: str, module: Any, target: str) -> bool:
    if target.startswith("re:"):
        return re.match(target.removeprefix("re:"), name) is not None
    return target == name or any(parent.__name__ == target for parent in type(module).__mro__)
