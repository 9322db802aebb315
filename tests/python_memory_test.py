"""Models of transformers rotated where they are: the bytes of `spinor rotate` of the saved model, the same function,
what runs online attached to the modules, and what cannot be done refused before anything is changed."""

import gc
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
import transformers
from safetensors.torch import load_file

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none

import logits  # noqa: E402
import tiny_models  # noqa: E402
import tiny_vision  # noqa: E402
from command import BINARY  # noqa: E402
from command import spinor as command  # noqa: E402
from rotated_families_test import cases as more_cases  # noqa: E402
from spinor import _parameters  # noqa: E402
from spinor.modifiers import QuIPModifier  # noqa: E402

BOUND = {torch.float64: 1e-9, torch.float32: 1e-4}  # as in scales_test


def cases():
    for family in tiny_models.FAMILIES:
        yield family, "power_of_two"
    seen = set()
    for family, case, _ in more_cases():
        if family not in seen:
            seen.add(family)
            yield family, case


def loaded(directory, dtype="auto"):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def outputs(model):
    inputs = tiny_vision.prompt(model) if hasattr(model.config, "vision_config") else {}
    return logits.logits(model, **inputs)


# Families whose files put together what memory has in parts.
IN_PARTS = set()


@pytest.fixture
def elsewhere(monkeypatch):
    """Called, it says that parameters lie on a device, so that they pass the host a tile at a time. Returns the bytes
    of each tile that passes, with the tensor's name."""

    def begin():
        passed, copy = [], _parameters.Tiles.__call__

        def counted(tiles, name, row, rows, begin, width, address, to_host):
            passed.append((name, rows * width))
            copy(tiles, name, row, rows, begin, width, address, to_host)

        monkeypatch.setattr(_parameters, "is_here", lambda tensor: False)
        monkeypatch.setattr(_parameters.Tiles, "__call__", counted)
        return passed

    return begin


@pytest.mark.parametrize("family, case", list(cases()), ids=lambda value: str(value))
def test_the_bytes_are_those_of_the_command(tmp_path, elsewhere, family, case):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case, torch.float32)
    model = logits.load(source, torch.float32)
    before, places = outputs(model), {name: p.data_ptr() for name, p in model.named_parameters()}
    try:
        spinor.rotate(source, out, progress=False)
    except spinor.InputError as error:
        with pytest.raises(spinor.InputError, match=re.escape(error.problem)):
            spinor.rotate_model(model, progress=False)
        return
    if family in IN_PARTS:
        with pytest.raises(spinor.InputError, match="in parts of memory that its file would put together"):
            spinor.rotate_model(model, progress=False)
        return
    result = spinor.rotate_model(model, progress=False)
    assert logits.difference(before, outputs(model))[0] <= BOUND[torch.float32]
    expected = logits.load(out, torch.float32)
    assert same(state(model), state(expected)), family
    assert result.edited and result.rotations
    moved = [name for name, p in model.named_parameters() if places.get(name) != p.data_ptr()]
    assert all("head" in name or "output" in name for name in moved), "nothing is copied but a tied head"
    other, passed = logits.load(source, torch.float32), elsewhere()
    spinor.rotate_model(other, progress=False)
    assert same(state(other), state(model)), "on a device"
    assert set(result.edited) <= {name for name, _ in passed}


@pytest.mark.parametrize("on_a_device", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_type_and_a_tied_head(tmp_path, elsewhere, dtype, on_a_device):
    source, out = tmp_path / "source", tmp_path / "out"
    if on_a_device:
        elsewhere()
    tiny_models.save(source, "llama", "power_of_two", dtype, tie_word_embeddings=True)
    model = loaded(source)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    version = model.model.layers[0].mlp.up_proj.weight._version
    result = spinor.rotate_model(model, seed=5, transform_type="random-hadamard", progress=False)
    command("rotate", source, out, "--seed", 5, "--transform-type", "random-hadamard", "--quiet")
    assert result.untied and not model.config.tie_word_embeddings
    assert same(state(model), state(loaded(out)))
    assert model.model.layers[0].mlp.up_proj.weight._version > version, "autograd must know"
    model.save_pretrained(tmp_path / "again")
    assert same(state(loaded(tmp_path / "again")), state(model))


def test_views_and_rows_that_lie_apart(tmp_path):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model, other = loaded(source), loaded(source)
    linear = model.model.layers[0].mlp.up_proj
    wide = torch.zeros(linear.weight.shape[0], 2 * linear.weight.shape[1])
    wide[:, : linear.weight.shape[1]] = linear.weight.detach()
    linear.weight = torch.nn.Parameter(wide[:, : linear.weight.shape[1]])
    spinor.rotate_model(model, progress=False)
    spinor.rotate_model(other, progress=False)
    assert same(state(model), state(other))
    assert (wide[:, linear.weight.shape[1] :] == 0).all()
    linear.weight = torch.nn.Parameter(linear.weight.detach().T.contiguous().T)
    with pytest.raises(spinor.InputError, match="up_proj.weight: has columns that are not contiguous"):
        spinor.rotate_model(model, progress=False)


@pytest.mark.parametrize("rotations", [["R4"], ["R3"], ["R1", "R2", "R3", "R4"]], ids="+".join)
@pytest.mark.parametrize("family, case",
                         [("llama", "power_of_two"), ("qwen3", "wide_heads"), ("mistral", "three_heads")])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_what_runs_online_is_attached_and_taken_away(tmp_path, family, case, rotations, attention):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case, torch.float64)
    model = logits.load(source, torch.float64, attention)
    before = outputs(model)
    spinor.rotate_model(model, rotations=rotations, transform_type="auto-random", progress=False)
    assert logits.difference(before, outputs(model))[0] <= BOUND[torch.float64]
    spinor.rotate(source, out, rotations=rotations, transform_type="auto-random", progress=False)
    saved = {name: tensor for file in out.glob("*.safetensors") for name, tensor in load_file(file).items()}
    online = {name for name in saved if name not in state(model)}
    assert all(".R3_" in name or ".R4_" in name for name in online)
    mine = {name: tensor for name, tensor in state(model).items() if name in saved or name != "lm_head.weight"}
    assert same({name: saved[name] for name in saved.keys() - online}, mine), "nothing that is attached is a parameter"
    assert spinor.remove_online(model) > 0
    gone = logits.difference(before, outputs(model))[0]
    assert gone > 1e-3 if "R4" in rotations else gone <= BOUND[torch.float64], "R3 alone is in no weight"
    assert model.config._attn_implementation == attention
    assert spinor.remove_online(model) == 0


@pytest.mark.parametrize("family, case", [("llama", "power_of_two"), ("qwen2", "three_heads")])
def test_quip_runs_online_too(tmp_path, family, case):
    source, out = tmp_path / "source", tmp_path / "out"
    tiny_models.save(source, family, case, torch.float64)
    model, recipe = logits.load(source, torch.float64), QuIPModifier(rotations=["v", "u"])
    before, weight = outputs(model), model.model.layers[0].mlp.down_proj.weight
    unrotated = weight.clone()
    spinor.rotate_model(model, recipe=recipe, progress=False)
    assert logits.difference(before, outputs(model))[0] <= BOUND[torch.float64]
    assert not torch.allclose(weight, unrotated, atol=1e-2)
    spinor.rotate(source, out, recipe=recipe, progress=False)
    assert logits.difference(before, outputs(spinor.load(out, dtype=torch.float64)))[0] <= BOUND[torch.float64]
    assert spinor.remove_online(model) >= 2 * 7 * 2 and logits.difference(before, outputs(model))[0] > 1e-2


@pytest.mark.skipif(not BINARY.with_name("spinor-torch").exists(), reason="spinor-torch is not built")
def test_low_bits_are_attached_for_measuring(tmp_path, monkeypatch):
    """The figures of `spinor eval` on the same tokens."""
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(BINARY.with_name("spinor-torch")))
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model = loaded(source)
    tokens = torch.randint(3, 72, (64,), generator=torch.Generator().manual_seed(1))
    (tmp_path / "tokens.json").write_text(str(tokens.tolist()))
    for bits in ({"activations": 4}, {"kv": 3}, {"activations": 6, "kv": 4}):
        spinor.attach_low_bits(model, **bits)
        with torch.no_grad():
            loss = model(tokens[None], labels=tokens[None]).loss.item()
        expected = spinor.eval(source, token_ids=tmp_path / "tokens.json", context=64, **bits).perplexity
        assert torch.tensor(loss).exp().item() == pytest.approx(expected, rel=2e-3), bits  # codes flip by last bits
        assert spinor.remove_low_bits(model) > 0
    plain = spinor.eval(source, token_ids=tmp_path / "tokens.json", context=64).perplexity
    with torch.no_grad():
        loss = model(tokens[None], labels=tokens[None]).loss.item()
    assert torch.tensor(loss).exp().item() == pytest.approx(plain, rel=1e-5)


KV = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "token", "dynamic": True}


def test_load_gives_what_the_checkpoint_computes(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(BINARY.with_name("spinor-torch")))
    source, out, low = tmp_path / "source", tmp_path / "out", tmp_path / "low"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    spinor.rotate(source, out, rotations=["R1", "R2", "R3", "R4"], transform_type="auto-random", progress=False)
    model = spinor.load(out)
    before = outputs(logits.load(source, torch.float32))
    assert logits.difference(before, outputs(model))[0] <= BOUND[torch.float32]
    assert logits.difference(before, outputs(loaded(out)))[0] > 1e-2, "by itself transformers drops it"
    assert spinor.load(source).config.tie_word_embeddings, "nothing to attach, nothing changed"

    groups = {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "strategy": "channel"}}}
    recipe = {"QuantizationModifier": {"config_groups": groups, "ignore": ["lm_head"], "kv_cache_scheme": KV}}
    spinor.quantize(source, low, recipe=[recipe], progress=False)
    tokens = torch.arange(3, 67)
    (tmp_path / "tokens.json").write_text(str(tokens.tolist()))
    with torch.no_grad():
        loss = spinor.load(low)(tokens[None], labels=tokens[None]).loss.item()
    if BINARY.with_name("spinor-torch").exists():
        expected = spinor.eval(low, token_ids=tmp_path / "tokens.json", context=64).perplexity
        assert torch.tensor(loss).exp().item() == pytest.approx(expected, rel=2e-3)
    with pytest.raises(spinor.InputError, match="no such directory|not"):
        spinor.load(tmp_path / "nothing")


def refused(model, match, error=spinor.InputError, **arguments):
    before = state(model) if isinstance(model, torch.nn.Module) and not is_meta(model) else None
    with pytest.raises(error, match=match):
        spinor.rotate_model(model, progress=False, **arguments)
    assert before is None or same(before, state(model)), "nothing is changed"


def is_meta(model):
    return next(model.parameters()).device.type == "meta"


def test_what_cannot_be_rotated_is_refused(tmp_path):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model = loaded(source)
    refused("Llama-3.2-1B", "model: is of type str", TypeError)
    refused(torch.nn.Linear(2, 2), "Linear has no config", TypeError)
    refused(model, "R5", rotations=["R5"])
    refused(model, "has no argument 'rotation_seed'", rotation_seed=1)
    refused(model, "W8A8|quantizes", recipe={"QuantizationModifier": {"scheme": "W8A8"}})
    with torch.device("meta"):
        refused(transformers.LlamaForCausalLM(model.config), "is on the meta device")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 5] = float("nan")
    with pytest.raises(spinor.InputError, match="layers.1.mlp.down_proj.weight: contains NaN"):
        spinor.rotate_model(model, progress=False)
    model.model.layers[1].mlp.down_proj.weight.data = torch.zeros(64, 128, dtype=torch.float8_e4m3fn)
    with pytest.raises(spinor.InputError, match="down_proj.weight: is of torch.float8"):
        spinor.rotate_model(model, progress=False)


def test_a_device_that_fails_is_an_error_that_says_what_was_done(tmp_path, elsewhere, monkeypatch):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model = loaded(source)
    passed, written, copy = elsewhere(), [], _parameters.Tiles.__call__

    def failing(tiles, name, row, rows, begin, width, address, to_host):
        if not to_host:
            written.append(name)
        if len(written) > allowed:
            raise RuntimeError("CUDA error: it went away")
        copy(tiles, name, row, rows, begin, width, address, to_host)

    monkeypatch.setattr(_parameters.Tiles, "__call__", failing)
    for allowed in (-1, 5):
        before = state(model)
        with pytest.raises(spinor.Error, match="cannot be copied: RuntimeError: CUDA error: it went away") as ended:
            spinor.rotate_model(model, threads=1, progress=False)
        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert bool(changed) == (allowed > 0)
        told = {name for key in ("rewritten", "damaged") for name in getattr(ended.value, key, [])}
        assert changed - {"lm_head.weight"} <= told
    assert passed


# Of 201 MB in bfloat16, the largest tensor having 33. What two threads hold at once: each a block, read and written (a
# panel of columns, 8 MB here), and a tile of it in float64: 50 MB were seen. A copy of the model would be 201.
PEAK = """
import resource, sys, torch, transformers, spinor
from spinor import _parameters
if sys.argv[1] == "elsewhere":
    _parameters.is_here = lambda tensor: False
sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4, "num_attention_heads": 16,
         "num_key_value_heads": 16, "vocab_size": 16384, "tie_word_embeddings": False, "dtype": "bfloat16"}
with torch.device("meta"):
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).bfloat16()
model.to_empty(device="cpu")
for parameter in model.parameters():
    parameter.data.fill_(0.01)
spinor.rotate_model  # imported
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
spinor.rotate_model(model, threads=2, progress=False)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6, (after - before) * 1024 / 1e6)
"""


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_no_copy_is_made(where):
    done = subprocess.run([sys.executable, "-c", PEAK, where], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    size, growth = map(float, done.stdout.split())
    assert size > 200 and growth < size / 2, done.stdout


def test_ctrl_c_says_what_was_done(tmp_path, caplog):
    sizes = {"hidden_size": 1000, "intermediate_size": 3000, "num_attention_heads": 10, "num_key_value_heads": 10,
             "head_dim": 100, "num_hidden_layers": 4}
    model = tiny_models.make("llama", "power_of_two", torch.float32, **sizes)
    before = state(model)
    started = []

    def interrupt(what, done, total):
        if done and not started:
            started.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as ended:
        spinor.rotate_model(model, transform_type="random-orthogonal", threads=1, progress=interrupt)
    assert time.monotonic() - started[0] < 5, "one block is finished"
    named = {*ended.value.rewritten, *ended.value.damaged}
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and changed - {"lm_head.weight"} == named - {"lm_head.weight"}
    assert "load it again" in caplog.text


def test_two_threads_rotate_two_models(tmp_path):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    models = [loaded(source) for _ in range(3)]
    spinor.rotate_model(models[0], progress=False)
    threads = [threading.Thread(target=spinor.rotate_model, args=[m], kwargs={"progress": False}) for m in models[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same(state(models[0]), state(models[1])) and same(state(models[0]), state(models[2]))


def test_one_model_is_rotated_by_one_thread(tmp_path):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model, refused_too = loaded(source), []

    def another(what, done, total):
        with pytest.raises(spinor.RunError, match="model: is being rotated by another thread"):
            spinor.rotate_model(model, progress=False)
        refused_too.append(done)

    spinor.rotate_model(model, progress=another)
    assert refused_too
    spinor.rotate_model(model, progress=False)


def test_a_model_is_not_held_when_the_call_is_over(tmp_path):
    source = tmp_path / "source"
    tiny_models.save(source, "llama", "power_of_two", torch.float32)
    model = loaded(source)
    alive = __import__("weakref").ref(model)
    result = spinor.rotate_model(model, progress=False)
    del model
    gc.collect()
    assert alive() is None and "model.embed_tokens.weight" in str(result)
