"""Every tensor of the real models, as saved and as published, has exactly one role; shapes are those of config.json.
The files hold no bytes but their headers: a sparse file is as long as the model."""

import itertools
import json
import re

import pytest

from command import ROOT, refused, spinor_json
from sparse_checkpoint import write_headers

FOLDER = ROOT / "tests" / "tensor_names"

# Masks and frequencies in old files, which transformers computes.
BUFFERS = ("rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias", ".attn.bias")

REFUSED = {
    # Multi-token prediction: the norms of these files, all 0, scale by 0; those of Qwen's, 1 + 0, are constant.
    ("deepseek-v3", "published"): "model.layers.61.",
    ("glm-4.5-air", "published"): "model.layers.46.",
    ("glm-4.6", "published"): "model.layers.92.",
}


def expand(pattern):
    """Names of a pattern with lists of ranges in it: layers.{0-2,4}.mlp."""
    pieces = re.split(r"\{([\d,-]+)\}", pattern)
    for numbers in itertools.product(*map(numbers_of, pieces[1::2])):
        yield "".join(itertools.chain(*itertools.zip_longest(pieces[0::2], numbers, fillvalue="")))


def numbers_of(ranges):
    ends = [one.partition("-") for one in ranges.split(",")]
    return [str(number) for first, _, last in ends for number in range(int(first), int(last or first) + 1)]


def read(path):
    cases = {}
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "case":
            tensors = {}
        if kind == "config":
            cases[case] = (json.loads(rest), tensors)
        if kind == "case":
            case = rest
        if kind == "tensor":
            pattern, *words = rest.split()
            dtype = words.pop() if words and not words[-1].isdigit() else "BF16"
            for name in expand(pattern):
                tensors[name] = (dtype, [int(word) for word in words])
    return cases


CASES = [
    (path.stem, case)
    for path in sorted(FOLDER.glob("*.txt"))
    for case in read(path)
]


@pytest.mark.parametrize("model, case", CASES)
def test_every_tensor_has_one_role(tmp_path, model, case):
    config, tensors = read(FOLDER / f"{model}.txt")[case]
    write_headers(tmp_path, config, tensors)
    if (model, case) in REFUSED:
        message = refused(
            "rotate", tmp_path, tmp_path / "out", "--rotations", "R1", "--transform-type", "random-hadamard"
        )
        assert REFUSED[model, case] in message
    report = spinor_json("inspect", tmp_path)
    assert report["refusal"] is None
    roles = {name: tensor["role"] for name, tensor in report["tensors"].items()}
    weights = {name.removesuffix("_blocks") for name in tensors if not name.endswith(("_scale_inv", "_scales"))}
    assert set(roles) == weights
    unknown = [name for name, role in roles.items() if role == "unknown"]
    assert not [name for name in unknown if not name.endswith(BUFFERS)]
