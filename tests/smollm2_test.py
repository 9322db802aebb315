"""A real model keeps its logits. Runs where `make demo` has already fetched it: tests fetch nothing."""

import sys

import pytest
import torch

from command import ROOT, spinor
from logits import difference, load, logits

sys.path.insert(0, str(ROOT / "demo"))
import smollm2  # noqa: E402

SOURCE = smollm2.CACHE / "float32"


@pytest.mark.skipif(not SOURCE.exists(), reason="SmolLM2 is not in .cache; make demo fetches it")
@pytest.mark.parametrize("transform_type", ["random-hadamard", "random-orthogonal"])
def test_smollm2_keeps_its_logits(tmp_path, transform_type):
    out = tmp_path / "out"
    spinor("rotate", SOURCE, out, "--transform-type", transform_type, "--quiet")
    spinor("verify", SOURCE, out)
    tokens = torch.randint(3, 49000, (1, 96), generator=torch.Generator().manual_seed(4))
    largest, rms = difference(*(logits(load(path, torch.float32), tokens) for path in (SOURCE, out)))
    # Thirty layers of float32 activations on both sides.
    assert largest <= 1e-4 and rms <= 1e-5
