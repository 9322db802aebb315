"""Where the program spinor-torch lies that this distribution has, and whether it fits."""

from pathlib import Path

from spinor_torch._built import TORCH  # "2.13": the minor version that it was built with


def program() -> Path:
    """Error if another minor version of torch is installed than it was built with."""
    from importlib.metadata import version

    from spinor import RunError

    installed = version("torch")
    if ".".join(installed.split(".")[:2]) != TORCH:
        raise RunError("spinor-llm-torch", f"is built for torch {TORCH}, and torch {installed} is installed",
                       "pip install --no-build-isolation --force-reinstall --no-deps spinor-llm-torch builds it anew")
    return Path(__file__).parent / "bin" / "spinor-torch"
