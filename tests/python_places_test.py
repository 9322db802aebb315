"""What functions take for a model, and what not: a directory, org/name in the local Hugging Face cache, a model in
memory that is there as a whole."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none

import hub_cache  # noqa: E402
import tiny_models  # noqa: E402
from command import BINARY  # noqa: E402
from docs_test import save_model  # noqa: E402 one that has a tokenizer
from python_memory_test import loaded, refused, same, state  # noqa: E402
from spinor import _core, _parameters  # noqa: E402

TORCH = BINARY.with_name("spinor-torch")


def weights(directory):
    return (directory / "model.safetensors").read_bytes()


@pytest.mark.skipif(not TORCH.exists(), reason="spinor-torch is not built")
def test_a_model_is_org_and_name_in_the_local_cache(tmp_path, monkeypatch):
    """Of every function that takes a model, without a network: transformers is not asked where it is."""
    save_model(tmp_path / "model")
    hub_cache.keep(tmp_path / "home", "org/model", tmp_path / "model")
    (tmp_path / "tokens.json").write_text(json.dumps(list(range(3, 67))))
    (tmp_path / "asked.json").write_text(json.dumps([{"context": [5, 6], "max_new_tokens": 2}]))
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(TORCH))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    tokens = {"token_ids": tmp_path / "tokens.json", "context": 32, "progress": False}
    told = {"calibration": tmp_path / "tokens.json", "calibration_context": 16, "calibration_samples": 2}
    gptq = {"GPTQModifier": {"scheme": "W8A8", "ignore": ["lm_head"]}}
    calls = {
        "inspect": lambda model, out: spinor.inspect(model),
        "plan": lambda model, out: spinor.plan(model),
        "discover": lambda model, out: spinor.discover(model),
        "rotate": lambda model, out: spinor.rotate(model, out),
        "quantize": lambda model, out: spinor.quantize(model, out, scheme="W8A8"),
        "dequantize": lambda model, out: spinor.dequantize(model, out),
        "verify": lambda model, out: spinor.verify(model, model),
        "tokenize": lambda model, out: spinor.tokenize(model, text=tmp_path / "tokens.json"),
        "eval": lambda model, out: spinor.eval(model, **tokens),
        "compare": lambda model, out: spinor.compare(model, scheme="W8A8", seeds=1, **tokens),
        "generate": lambda model, out: spinor.generate(model, prompt="The", max_new_tokens=2),
        "answer": lambda model, out: spinor.answer(model, tmp_path / "asked.json"),
        "learn": lambda model, out: spinor.learn(model, out, rotations="R1", **told),
        "load": lambda model, out: spinor.load(model),
        "oneshot": lambda model, out: spinor.oneshot(model, gptq, [{"text": "The wind. " * 20}] * 4, output_dir=out,
                                                     num_calibration_samples=2, max_seq_length=16),
    }
    assert not json.loads(_core.options()).keys() - calls.keys()
    quantized = tmp_path / "quantized"
    spinor.quantize(tmp_path / "model", quantized, scheme="W8A8")
    hub_cache.keep(tmp_path / "home", "org/quantized", quantized)
    for name, call in calls.items():
        kept = "quantized" if name == "dequantize" else "model"
        call(f"org/{kept}", tmp_path / f"{name}.safetensors")
        with pytest.raises(spinor.InputError, match=f"^org/none: neither a directory nor in the cache {tmp_path}/home"
                                                    "/hub; give a directory, or fetch it: hf download org/none"):
            call("org/none", tmp_path / f"{name}.none")
    assert weights(tmp_path / "quantize.safetensors") == weights(quantized)
    assert spinor.plan("org/model@main").bytes == spinor.plan(Path("org/model")).bytes


def test_commands_take_a_model_in_memory(tmp_path):
    """It is on disk for as long as they read it, beside what they write, and stays as it is."""
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model = loaded(source)
    before = state(model)
    spinor.quantize(model, tmp_path / "memory", scheme="W4A16", group_size=16, progress=False)
    spinor.quantize(source, tmp_path / "disk", scheme="W4A16", group_size=16, progress=False)
    assert (tmp_path / "memory/model.safetensors").read_bytes() == (tmp_path / "disk/model.safetensors").read_bytes()
    assert same(before, state(model)) and {path.name for path in tmp_path.iterdir()} == {"source", "memory", "disk"}
    spinor.rotate_model(model, progress=False)
    assert spinor.verify(source, model).passed and spinor.plan(model).bytes == spinor.plan(source).bytes
    spinor.attach_low_bits(model, activations=4)
    with pytest.raises(spinor.InputError, match="is a FakeQuantize, which runs in memory alone"):
        spinor.eval(model, text="x")
    spinor.remove_low_bits(model)
    learnable = spinor.learnable_rotations(model)
    with pytest.raises(spinor.InputError, match="is being learned; call fuse"):
        spinor.plan(model)
    learnable.detach()
    with torch.device("meta"), pytest.raises(spinor.InputError, match="is on the meta device"):
        spinor.plan(transformers.LlamaForCausalLM(model.config))


class FullyShardedDataParallel(torch.nn.Module):
    pass


class DTensor(torch.Tensor):
    pass


def test_what_is_not_here_as_a_whole_is_refused(tmp_path):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model = loaded(source)
    model.model.layers[0]._hf_hook = SimpleNamespace(offload=True)  # accelerate's
    refused(model, "model.layers.0: is offloaded; load the model without a device_map")
    del model.model.layers[0]._hf_hook
    model.model.wrapper = FullyShardedDataParallel()
    refused(model, "model.wrapper: is sharded")
    del model.model.wrapper
    model.hf_quantizer = object()
    refused(model, "model: is quantized; rotate it before")
    del model.hf_quantizer
    with pytest.raises(spinor.InputError, match="x: is sharded"):
        _parameters._check_tensor("x", torch.zeros(2).as_subclass(DTensor))
    with pytest.raises(spinor.InputError, match="x: is of torch.float32, torch.sparse_coo"):
        _parameters._check_tensor("x", torch.zeros(2).to_sparse())
    spinor.rotate_model(model, progress=False)


def test_only_devices_that_are_known_to_work_are_taken():
    for kind in ("mps", "xpu", "hpu"):
        tensor = SimpleNamespace(device=torch.device(kind), data=None)
        with pytest.raises(spinor.InputError, match=f"x: is on {kind}; move the model: model.to\\('cpu'\\)"):
            _parameters._check_tensor("x", tensor)
    there = SimpleNamespace(device=torch.device("cuda", 1), data=None, layout=torch.strided, is_quantized=False,
                            dtype=torch.bfloat16)
    _parameters._check_tensor("x", there)
    assert not _parameters.is_here(there) and _parameters.is_here(torch.zeros(2))
