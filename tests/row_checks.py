"""What is checked of each row that discovery found, with one tiny model of its class: the rotations are exact, each of
their sites is needed, and the model can be quantized."""

import dataclasses
import json
import tempfile
import traceback
from pathlib import Path

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import rows
import spinor
from spinor.discovery.discover import another
from spinor.discovery.left_out import role_of
from spinor.discovery.proof import SEED, Proof, loaded, logits_of, prove, rotated, save
from spinor.discovery.split import wrong_splits
from spinor.discovery.subject import MASKED, difference
from spinor.discovery.tiny import default_config


@dataclasses.dataclass
class Checked:
    """`proofs`: by type of the weights, computed in float64. `in_float32`: by rotation, and the `noise` of a model that
    is not rotated. `quantized`: how far the logits are in 8 bits, by who loads them (see `quantize`); `refused`: what
    spinor said instead. `split`: how many stacks were quantized expert by expert. `problems`: what was raised in which
    check."""

    row: dict

    proofs: dict = dataclasses.field(default_factory=dict)
    in_float32: dict = dataclasses.field(default_factory=dict)
    noise: float = 0
    quantized: dict = dataclasses.field(default_factory=dict)
    refused: dict = dataclasses.field(default_factory=dict)
    head_is_ignored: bool = True  # by the name that it has in memory
    split: int = 0
    wrong_splits: list = dataclasses.field(default_factory=list)
    problems: dict = dataclasses.field(default_factory=dict)


def check(kind, model_type, more):
    """Of a tiny model of that type. `more`: what takes longer, too."""
    torch.set_num_threads(1)
    tiny = another(default_config(model_type), kind)
    found = Checked(yaml.safe_load(rows.file_of(kind, model_type).read_text()))
    for name, one in CHECKS.items():
        if more or name not in LONG:
            with tempfile.TemporaryDirectory(prefix="spinor-") as folder:
                try:
                    one(tiny, Path(folder), found, more)
                except Exception as error:  # noqa: BLE001: told by the test of that row
                    found.problems[name] = "".join(traceback.format_exception(error))[-2000:]
    return found


def float64(tiny, folder, found, more):
    """The proof, with each site left out."""
    del folder, more
    found.proofs[torch.float64] = prove(tiny)


def float32(tiny, folder, found, more):
    """Weights that are rounded once: what they compute in float64, and in float32, which itself is not exact."""
    del more
    source = folder / "model"
    save(tiny, source, torch.float32)
    exact = logits_of(loaded(source, tiny, torch.float64), tiny)
    start = logits_of(loaded(source, tiny, torch.float32), tiny)
    done, refused = rotated(source, folder)
    proof = found.proofs[torch.float32] = Proof({}, refused)
    found.noise = difference(exact, start.double())
    for rotation, out in done.items():
        proof.errors[rotation] = difference(exact, logits_of(loaded(out, tiny, torch.float64), tiny))
        found.in_float32[rotation] = difference(start, logits_of(loaded(out, tiny, torch.float32), tiny))


def quantize(tiny, folder, found, more):
    """To 8 bits, rotated by all that is legal: as numbers (dense), and `more` by transformers' loader of integers
    (packed), unless spinor refuses that."""
    source, heads = folder / "model", names_of_heads(tiny.model)
    save(tiny, source, torch.float32)
    start = logits_of(loaded(source, tiny, torch.float32), tiny)
    rotations = list(found.proofs[torch.float64].errors)
    options = {"scheme": "W8A8", "ignore": list(heads), "progress": False}
    if rotations:
        options |= {"rotations": rotations, "transform_type": "random-orthogonal", "seed": SEED}
    spinor.inspect(source, progress=False)
    try:
        spinor.quantize(source, folder / "packed", **options)
    except spinor.InputError as refusal:
        found.refused["quantize"] = refusal.problem
        if "is a stack of matrices" not in refusal.problem:
            return
        options["ignore"] += stacks(source)
        spinor.quantize(source, folder / "packed", **options)
    spinor.plan(source, **options)
    ignored = json.loads((folder / "packed/config.json").read_text())["quantization_config"]["ignore"]
    found.head_is_ignored = set(heads) <= set(ignored)
    spinor.dequantize(folder / "packed", folder / "dense", progress=False)
    found.split = stack_again(found.row, source, folder / "dense")
    found.quantized["dense"] = correlation(start, logits_of(loaded(folder / "dense", tiny, torch.float32), tiny))
    if more and is_loaded(source, folder / "again", options, found):
        found.quantized["packed"] = correlation(start, logits_of(loaded(folder / "again", tiny, torch.float32), tiny))


def split(tiny, folder, found, more):
    """Stacks of experts split in a model of other sizes as the row says."""
    del folder, more
    found.wrong_splits = wrong_splits(found.row, tiny.model, tiny.inputs)


def stack_again(row, source, dense):
    """Of the linears of experts the stacks that the class has, as the row says that they split. Returns how many."""
    tensors, shapes = load_file(dense / "model.safetensors"), {}
    for name, tensor in load_file(source / "model.safetensors").items():
        shapes[name] = tensor.shape
    splits = {linear["name"]: linear for linear in row["linears"] if linear.get("split")}
    missing = [name for name in shapes if name not in tensors]
    for name in missing:
        layer, linear = next((name[: -len(end)], linear) for linear in splits.values()
                             for end in (f"{linear['name']}.weight", linear["name"]) if name.endswith("." + end))
        experts = [[tensors.pop(f"{layer}{one.format(E=expert)}.weight") for one in linear["split"]]
                   for expert in range(shapes[name][0])]
        joined = [torch.stack(one, 1).flatten(0, 1) if linear.get("alternating") else torch.cat(one) for one in experts]
        stack = torch.stack(joined)
        tensors[name] = stack.mT.contiguous() if linear["layout"] == "experts_transposed" else stack
    assert {name: tensor.shape for name, tensor in tensors.items()} == shapes
    save_file(tensors, dense / "model.safetensors", {"format": "pt"})
    return len(missing)


def names_of_heads(model):
    """In memory; a class may not say which they are, or have several."""
    head = model.get_output_embeddings()
    found = [name for name, module in model.named_modules() if module is head] or [
        name for name, _ in model.named_modules() if name.endswith(("lm_head", "predictions.decoder"))
    ]
    lists = [f"{name}.{child}" for name in found for child, _ in model.get_submodule(name).named_children()]
    return lists if isinstance(head, torch.nn.ModuleList) else found[:1]


def stacks(source):
    """Patterns of all modules of a checkpoint whose weights have three axes."""
    found = set()
    for file in source.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found |= {name for name in tensors.keys() if len(tensors.get_slice(name).get_shape()) == 3}
    return sorted({"re:.*" + role_of(name.removesuffix(".weight")).replace("{}", "[0-9]+") for name in found})


def is_loaded(source, out, options, found):
    """Unless spinor says that transformers would not."""
    try:
        spinor.quantize(source, out, for_="transformers", **options)
    except spinor.InputError as refusal:
        found.refused["packed"] = refusal.problem
    return "packed" not in found.refused


def correlation(before, after):
    kept = before.abs() < MASKED
    return float(torch.corrcoef(torch.stack([before[kept], after[kept]]))[0, 1])


CHECKS = {"float64": float64, "split": split, "float32": float32, "quantize": quantize}
LONG = {"float32"}
