"""Everything in float64: what a model's own code narrows is widened again."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_NARROW = (torch.float32, torch.float16, torch.bfloat16)


class widened(TorchDispatchMode):  # noqa: N801: used like a function
    """Within it each request for a narrower float gives float64, and so does none at all: stock norms and routers ask
    for float32, masks for whatever the default is."""

    def __enter__(self):  # noqa: ANN204
        self._default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *raised):  # noqa: ANN002, ANN204
        torch.set_default_dtype(self._default)
        return super().__exit__(*raised)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        if kwargs.get("dtype") in _NARROW:
            kwargs = {**kwargs, "dtype": torch.float64}
        return operation(*args, **kwargs)
