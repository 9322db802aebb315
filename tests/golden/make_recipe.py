"""Writes recipe/*: what llm-compressor makes of the tiny models in transforms/, and the recipes it saves beside it.

Pinned: llmcompressor 0.14.0.1, compressed-tensors 0.19.0, transformers 5.17.0, torch 2.13.0 (CPU). Run: python
make_recipe.py

MODEL-TYPE.safetensors   the tensors after R1 and R2 of that type
spinquant.yaml           the recipe saved with llama-random-hadamard; it holds the transform_config that the run
                         filled in
merged.yaml              the same merged with a second recipe, as llm-compressor does when it works on its own output
"""

import shutil
import tempfile
from pathlib import Path

import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.transform import SpinQuantModifier
from llmcompressor.recipe import Recipe
from safetensors import safe_open
from safetensors.torch import save_file

HERE = Path(__file__).parent
OUT = HERE / "recipe"


def run(model, transform_type, directory):
    recipe = SpinQuantModifier(rotations=["R1", "R2"], transform_type=transform_type)
    source = str(HERE / "transforms" / model)
    oneshot(model=source, recipe=recipe, pipeline="datafree", precision="float64", output_dir=str(directory))
    with safe_open(directory / "model.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    assert all(tensor.dtype == torch.float64 for tensor in tensors.values())
    save_file(tensors, OUT / f"{model}-{transform_type}.safetensors")


def main():
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for model in ("llama", "llama_tied"):
            for transform_type in ("hadamard", "random-hadamard"):
                run(model, transform_type, Path(work) / model / transform_type)
        shutil.copy(Path(work) / "llama/random-hadamard/recipe.yaml", OUT / "spinquant.yaml")
    second = Recipe.from_modifiers(SpinQuantModifier(rotations=["R2"], transform_block_size=4))
    second.yaml(str(OUT / "merged.yaml"), existing_recipe_path=str(OUT / "spinquant.yaml"))


if __name__ == "__main__":
    main()
