"""What the tests of learned rotations share: recipes, texts, tiny models that have something to learn, and what is read
of what was learned. The fixture `source` makes the models (conftest.py)."""

import json

import torch
from safetensors.torch import load_file

import logits
import tiny_models
from command import run

CONTEXT, WINDOWS = 32, 8
LEARNING = {"context": CONTEXT, "samples": 4, "holdout": 4, "steps": 5, "batch": 64}
# Enough for tiny models: more than the few steps that the other tests take.
HARD = LEARNING | {"steps": 40, "learning_rate": 0.02}
BOUND = {torch.float64: 1e-9, torch.float32: 1e-4}  # of logits, as in scales_test
LEARNED = "learned/rotations.safetensors"
LOW_BITS = {"symmetric": False, "strategy": "token", "dynamic": True}
GROUP = {
    "targets": ["Linear"],
    "weights": {"num_bits": 4, "strategy": "channel"},
    "input_activations": {"num_bits": 4, **LOW_BITS},
}


def spin(**arguments):
    learning = {"transform_type": "auto-random", "learnable": True, "learning": LEARNING}
    return "SpinQuantModifier", {**learning, **arguments}


def gptq(**more):
    return "GPTQModifier", {"ignore": ["lm_head"], "config_groups": {"group_0": GROUP}, **more}


def recipe(path, *modifiers):
    """Modifiers, each in a group of its own."""
    groups = {f"step{i}_modifiers": {name: arguments} for i, (name, arguments) in enumerate(modifiers)}
    path.write_text(json.dumps({"quant_stage": groups}))
    return path


def text(directory, tokens=None):
    if tokens is None:
        tokens = torch.randint(3, 72, (WINDOWS * CONTEXT,), generator=torch.Generator().manual_seed(5)).tolist()
    path = directory / "tokens.json"
    path.write_text(json.dumps(tokens))
    return path


def case_of(family):
    return "power_of_two" if family in tiny_models.FAMILIES else next(iter(tiny_models.MORE_FAMILIES[family][1]))


def outliers(model):
    """A few channels of the residual stream are large, as trained models have them: there is something to learn."""
    with torch.no_grad():
        model.get_input_embeddings().weight[:, [3, 20, 33]] *= 12
    return model


def weights(directory):
    return load_file(directory / "model.safetensors")


def same_bytes(one, other, *files):
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in files or ["model.safetensors"])


def difference(source, out, dtype):
    return logits.difference(*(logits.logits(logits.load(path, dtype)) for path in (source, out)))[0]


def rotations(path):
    """The matrices, scales and permutations of a file, each as it has to be."""
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if name.startswith("permutation."):
            assert torch.equal(tensor.sort().values, torch.arange(len(tensor))), name
            continue
        assert tensor.dtype == torch.float64, name
        if name.startswith("scale."):
            assert (tensor > 0).all() and tensor.isfinite().all(), name
        else:
            assert (tensor @ tensor.T - torch.eye(len(tensor), dtype=torch.float64)).abs().max() <= 1e-12, name
    return tensors


def record(out):
    return json.loads((out / "spinor.json").read_text())["learning"]


def rotate(model, out, steps, *more, command="rotate"):
    return run(command, model, out, "--recipe", steps, "--threads", 1, *more)
