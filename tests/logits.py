"""Logits of a checkpoint, and how far apart two of them are."""

import contextlib

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

TOKENS = torch.randint(3, 72, (2, 24), generator=torch.Generator().manual_seed(1))


class KeepFloat64(TorchDispatchMode):
    """Ignores casts of float64 to a narrower float. The stock classes compute norms and softmax in float32, which alone
    would limit a comparison to about 2e-6."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.ops.aten._to_copy.default and args[0].dtype == torch.float64:
            if kwargs.get("dtype") in (torch.float32, torch.bfloat16, torch.float16):
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


def load(directory, dtype):
    """A model that transformers loads without a word: nothing missing, nothing left over, nothing to warn about."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), f"{directory}: {report}"
    return model.eval()


@torch.no_grad()
def logits(model, tokens=TOKENS):
    keep = KeepFloat64() if model.dtype == torch.float64 else contextlib.nullcontext()
    with keep:
        return model(tokens).logits.double()


def difference(source, other):
    """(largest, root mean square) in units of the standard deviation of the source's logits."""
    delta = (other - source) / source.std()
    return delta.abs().max().item(), delta.square().mean().sqrt().item()
