"""Logits of a checkpoint, and how far apart two of them are."""

import contextlib

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TOKENS = torch.randint(3, 72, (2, 24), generator=torch.Generator().manual_seed(1))


class KeepFloat64(TorchDispatchMode):
    """Ignores casts of float64 to a narrower float. The stock classes compute norms, softmax and routers in float32,
    which alone would limit a comparison to about 2e-6. An operation that would still narrow float64 is an error."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.ops.aten._to_copy.default and args[0].dtype == torch.float64:
            if kwargs.get("dtype") in NARROW:
                kwargs["dtype"] = torch.float64
        result = func(*args, **kwargs)
        if any(tensor.dtype in WIDE for tensor in tensors((args, kwargs))):
            narrowed = [tensor.dtype for tensor in tensors(result) if tensor.dtype in NARROW]
            assert not narrowed, f"{func} makes {narrowed} of float64"
        return result


WIDE, NARROW = (torch.float64, torch.complex128), (torch.float32, torch.bfloat16, torch.float16, torch.complex64)


def tensors(value):
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def load(directory, dtype, attention="eager"):
    """A model that transformers loads without a word: nothing missing, nothing left over, nothing to warn about."""
    config = transformers.AutoConfig.from_pretrained(directory)
    model, report = getattr(transformers, config.architectures[0]).from_pretrained(
        directory,
        dtype=dtype,
        attn_implementation=attention,
        experts_implementation="eager",  # the others take no float64
        output_loading_info=True,
    )
    assert not any(report.values()), f"{directory}: {report}"
    return model.eval()


@torch.no_grad()
def logits(model, tokens=TOKENS, **inputs):
    keep = KeepFloat64() if model.dtype == torch.float64 else contextlib.nullcontext()
    with keep:
        return model(**(inputs or {"input_ids": tokens})).logits.double()


def difference(source, other):
    """(largest, root mean square) in units of the standard deviation of the source's logits."""
    delta = (other - source) / source.std()
    return delta.abs().max().item(), delta.square().mean().sqrt().item()
