"""Writes tests/architectures/<family>.txt: what transformers makes of each family, for spinor's model tests.

A case is a tiny random model, saved with save_pretrained: the config.json it wrote, the tensors in its safetensors
file, and named_modules() with each module's class and those of its parents that are torch modules. "defaults" is what
the family's config class makes of a config.json with nothing but a hidden size and a number of heads.

    python tests/golden/make_architectures.py        (transformers 5.23.0, torch 2.13.0)
"""

import json
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

SIZES = dict(hidden_size=24, num_hidden_layers=2, intermediate_size=40, vocab_size=32, bos_token_id=1, eos_token_id=2,
             pad_token_id=0)
MHA = dict(num_attention_heads=4, num_key_value_heads=4)
GQA = dict(num_attention_heads=6, num_key_value_heads=2)
ODD = dict(num_attention_heads=3, num_key_value_heads=1)
BIASES = dict(attention_bias=True, mlp_bias=True)
TIED, UNTIED = dict(tie_word_embeddings=True), dict(tie_word_embeddings=False)
WIDE = dict(head_dim=16)  # not hidden_size / num_attention_heads

FAMILIES = {
    "Llama": {"plain": MHA | UNTIED, "tied with biases": GQA | TIED | BIASES, "wide odd heads": ODD | UNTIED | WIDE},
    "Mistral": {"plain": GQA | UNTIED, "tied": ODD | TIED, "wide heads": GQA | UNTIED | WIDE},
    "Qwen2": {"plain": GQA | UNTIED, "tied odd heads": ODD | TIED},
    "Qwen3": {"plain": GQA | UNTIED | WIDE, "tied with biases": ODD | TIED | WIDE | dict(attention_bias=True)},
    "Granite": {"plain": GQA | UNTIED, "tied with biases": ODD | TIED | BIASES},
    "SmolLM3": {"tied": GQA | TIED | dict(no_rope_layers=[1, 0]), "plain with biases": ODD | UNTIED | BIASES},
}


def module_classes(module):
    return [c.__name__ for c in type(module).__mro__ if issubclass(c, torch.nn.Module)]


def defaults(config_class):
    config = config_class(hidden_size=4096, num_attention_heads=64)
    keys = ["num_key_value_heads", "head_dim", "tie_word_embeddings", "attention_bias", "mlp_bias"]
    return "defaults " + json.dumps({key: getattr(config, key) for key in keys if hasattr(config, key)})


def describe(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads((Path(folder) / "config.json").read_text())
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            tensors = {name: file.get_slice(name).get_shape() for name in file.keys()}
    yield "config " + json.dumps(config)
    for name, shape in sorted(tensors.items()):
        yield " ".join(["tensor", name, *map(str, shape)])
    for name, module in model.named_modules():
        yield " ".join(["module", name or "-", *module_classes(module)])


def main():
    folder = Path(__file__).parent.parent / "architectures"
    for family, cases in FAMILIES.items():
        model_class = getattr(transformers, family + "ForCausalLM")
        lines = [f"# Made by tests/golden/make_architectures.py with transformers {transformers.__version__}.",
                 defaults(model_class.config_class)]
        for case, options in cases.items():
            model = model_class(model_class.config_class(**SIZES, **options)).to(torch.bfloat16)
            lines += ["", "case " + case, *describe(model)]
        (folder / (family.lower() + ".txt")).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main()
