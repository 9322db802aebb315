"""Writes tests/tensor_names/<model>.txt: tensors of published models of every family, as they are on disk.

A file has the cases "saved", what save_pretrained writes today, and "published", the names of the files as they were
published; "nested" is a third that loads. Each is a config.json with the keys that matter and its tensors, many to a
line: "{0-3,5}" stands for each of these numbers. A word after the sizes is the type, where it is not the model's.

    python tests/golden/make_tensor_names.py [MODEL...]        (transformers 5.23.0, torch 2.13.0)
"""

import copy
import itertools
import json
import re
import sys
from pathlib import Path

import torch
import transformers
from transformers.core_model_loading import revert_weight_conversion

from published_configs import CONFIGS
from published_names import PUBLISHED, nested

NOISE = "transformers_version dtype use_cache initializer_range".split()


def saved(config):
    """config.json and tensors (name -> sizes) that save_pretrained would write, without making the weights."""
    model_class = getattr(transformers, config["architectures"][0])
    with torch.device("meta"):
        model = model_class(model_class.config_class(**copy.deepcopy(config)))
    state = model.state_dict()
    for name, source in model.all_tied_weights_keys.items():
        if model.config.tie_word_embeddings:
            assert state[name] is state[source] or state[name].shape == state[source].shape
            del state[name]
    written = {"architectures": config["architectures"], **json.loads(model.config.to_json_string())}
    state = revert_weight_conversion(model, state)
    return trimmed(written), {name: tuple(tensor.shape) for name, tensor in state.items()}


def trimmed(config):
    keep = {key: value for key, value in config.items() if key not in NOISE and not key.endswith("_token_id")}
    return {key: trimmed(value) if isinstance(value, dict) else value for key, value in keep.items()}


def ranges(numbers):
    """ "{0-3,5}", or the number alone."""
    runs = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return text if len(numbers) == 1 else "{" + text + "}"


def patterns(tensors):
    """Tensors that differ only in numbers that are parts of their names, and have the same sizes, in one line."""
    groups = {}
    for name, shape in tensors.items():
        parts = name.split(".")
        template = tuple(None if part.isdigit() else part for part in parts)
        groups.setdefault((template, shape), []).append(tuple(int(part) for part in parts if part.isdigit()))
    for (template, shape), indices in groups.items():
        for index in merged(indices):
            numbers = iter(ranges(part) for part in index)
            name = ".".join(next(numbers) if part is None else part for part in template)
            yield " ".join(["tensor", name, *map(str, shape)])


def merged(indices):
    """Tuples of numbers as a few products of sets."""
    products = {tuple(frozenset([number]) for number in index) for index in indices}
    for axis in reversed(range(len(indices[0]))):
        groups = {}
        for product in products:
            groups.setdefault(product[:axis] + product[axis + 1 :], []).append(product[axis])
        products = {(*rest[:axis], frozenset().union(*sets), *rest[axis:]) for rest, sets in groups.items()}
    result = sorted(products, key=lambda product: [sorted(part) for part in product])
    assert sum(len(list(itertools.product(*product))) for product in result) == len(indices)
    return result


def quantization(tensors):
    if any(name.endswith("_scale_inv") for name in tensors):
        return {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    if any(name.endswith("_blocks") for name in tensors):
        return {"quantization_config": {"quant_method": "mxfp4"}}
    return {}


def natural(line):
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", line)]


def main():
    folder = Path(__file__).parent.parent / "tensor_names"
    folder.mkdir(exist_ok=True)
    for model in sys.argv[1:] or CONFIGS:
        config = CONFIGS[model]
        written, tensors = saved(config)
        lines = [f"# Made by tests/golden/make_tensor_names.py with transformers {transformers.__version__}."]
        published = PUBLISHED.get(model, lambda tensors, config: tensors)(tensors, config)
        cases = {"saved": (written, tensors), "published": (config | quantization(published), published)}
        if any(name.startswith("visual.") for name in tensors):
            cases["nested"] = (written, nested(tensors))
        for case, (keys, names) in cases.items():
            lines += ["", "case " + case, "config " + json.dumps(keys), *sorted(patterns(names), key=natural)]
        (folder / (model + ".txt")).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main()
