"""vLLM on the CPU loads and runs what spinor quantizes. `make check-vllm` installs it and runs this; ctest does not."""

import json
import os
import subprocess

import pytest
import torch
from transformers import AutoModelForCausalLM

import quantize_client_test  # noqa: F401  it names the shape "quantizable"
from command import ROOT, spinor
from tiny_models import save

PYTHON = ROOT / ".venv-vllm/bin/python"
TOKENS = torch.randint(3, 72, (4, 32), generator=torch.Generator().manual_seed(1))


def vllm_logprobs(model, work):
    (work / "tokens.json").write_text(json.dumps(TOKENS.tolist()))
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    command = [PYTHON, ROOT / "tests/vllm_logprobs.py", model, work / "tokens.json", work / "found.json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    if "no attribute 'cpu_gemm_wna16'" in done.stdout + done.stderr:
        pytest.skip("this build of vLLM has its int4 kernel only for processors with AVX-512")
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.tensor(json.loads((work / "found.json").read_text()))


@torch.no_grad()
def transformers_logprobs(model):
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    logprobs = loaded(TOKENS).logits.log_softmax(-1)
    return logprobs[:, :-1].gather(-1, TOKENS[:, 1:, None])[..., 0]


@pytest.mark.parametrize("scheme", ["W8A8", "W4A16"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_vllm_computes_as_well_with_the_rotated_model_as_with_the_plain_one(tmp_path, family, scheme):
    """vLLM computes in bfloat16, and its int8 kernel saturates on processors without VNNI: how far that is from
    float32 is vLLM's affair, and must not grow with the rotations."""
    source, rms = save(tmp_path / "model", family, "quantizable", torch.bfloat16), {}
    for name, rotations in {"plain": [], "rotated": ["--rotations", "R1,R2"]}.items():
        out = tmp_path / name
        spinor("quantize", source, out, "--scheme", scheme, *rotations, "--for", "vllm", "--quiet")
        rms[name] = (vllm_logprobs(out, tmp_path) - transformers_logprobs(out)).pow(2).mean().sqrt().item()
    print(f"{family} {scheme}: log-probabilities, rms of vLLM's difference from float32: {rms}")
    assert rms["rotated"] <= 1.5 * rms["plain"]
