"""spinor discover: a class that no table has ever seen, with code of its own, is found out, proved, rotated, quantized
and loaded; what cannot be found out is refused with the reason."""

import json
import os
import sys

import pytest
import torch
import transformers

import command
import rows
from odd_model import make

pytest.importorskip("spinor")  # PYTHONPATH=build/release/python
import spinor  # noqa: E402
from spinor.discovery.discover import discover_type  # noqa: E402
from spinor.discovery.proof import SEED, loaded, logits_of, save  # noqa: E402
from spinor.discovery.tiny import default_config, tiny  # noqa: E402

os.environ.setdefault("SPINOR_PYTHON", sys.executable)
EXACT = 1e-9  # of the logits' deviation, in float64

@torch.no_grad()
def logits(directory, dtype=torch.float64):
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, dtype=dtype)
    return model(torch.arange(3, 40)[None]).logits


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return make(tmp_path_factory.mktemp("odd") / "model")


@pytest.fixture(scope="module")
def row(odd):
    file = odd.parent / "odd.yaml"
    said = command.spinor("discover", odd, "--trust-remote-code", "--out", file)
    assert "R1: exact" in said and "R2: exact" in said
    return file


def test_its_row_says_what_is_where(row):
    text = row.read_text()
    assert "names: [OddForCausalLM]" in text and "layers: steps" in text and "head: out" in text
    assert "{name: wide, out: '2 * inner', in: hidden_size, bias: 'true'}" in text
    assert "reads: [mix], offset: 1" in text
    assert "linear: mix, name: values, begin: " in text
    assert "{name: shift, shape: [hidden_size], writes: 'true'}" in text
    assert "{name: 'sides.{E}', out: hidden_size, in: hidden_size, bias: 'true', count: sides}" in text
    assert "rows: vocab_size}" in text and "head_rows: vocab_size - 8" in text


@pytest.mark.parametrize("rotations", ["R1", "R2", "R1,R2"])
def test_it_is_rotated_exactly(odd, row, tmp_path, rotations):
    command.spinor("rotate", odd, tmp_path / "out", "--architecture", row, "--rotations", rotations, "--transform-type",
                   "random-orthogonal", "--quiet")
    before, after = logits(odd), logits(tmp_path / "out")
    assert float((before - after).abs().max() / before.std()) < EXACT
    assert "is the same function as" in command.spinor("verify", odd, tmp_path / "out", "--architecture", row)


def test_every_site_is_needed(odd, row, tmp_path):
    """A row that leaves one writer out, or one reader, is refused before anything is written."""
    for left_out in ("narrow", "wide"):
        text = row.read_text()
        assert left_out in text
        wrong = tmp_path / f"{left_out}.yaml"
        wrong.write_text("\n".join(line.replace(f", {left_out}]", "]").replace(f"[{left_out}]", "[]")
                                   for line in text.splitlines()))
        message = command.refused("rotate", odd, tmp_path / "out", "--architecture", wrong)
        assert left_out in message and not (tmp_path / "out").exists()


def test_on_the_way_rotated_and_quantized(tmp_path):
    odd = make(tmp_path / "odd", dtype=torch.float32)
    command.spinor("quantize", odd, tmp_path / "out", "--discover", "--trust-remote-code", "--scheme", "W8A8",
                   "--ignore", "out", "--rotations", "R1", "--transform-type", "random-orthogonal", "--quiet")
    before, after = logits(odd, torch.float32), logits(tmp_path / "out", torch.float32)
    # Eight bits: a correlation of 0.99 and more; random weights of another model have none.
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.98


def test_what_cannot_turn_is_said(tmp_path):
    """The branch is scaled by a parameter of each channel before it is added."""
    model = make(tmp_path / "model", " * self.between.weight")
    said = command.spinor_json("discover", model, "--trust-remote-code")
    assert "between" in said["refused"]["R1"]
    assert said["errors"]["R2"] < EXACT


def test_code_runs_only_with_consent(odd):
    message = command.refused("discover", odd)
    assert "--trust-remote-code" in message


@pytest.mark.parametrize("change, said", [
    ("x = self.tokens(input_ids)", "raise RuntimeError('nothing goes')"),
    ("CausalLMOutput(logits=self.out(self.body(input_ids)))", "self.body(input_ids)"),
    ("x = self.tokens(input_ids)", "x = self.tokens(input_ids) + torch.rand(1)"),
    ("x = self.tokens(input_ids)", "assert not torch.is_grad_enabled(); x = self.tokens(input_ids)"),
], ids=["raises", "no logits", "not deterministic", "no gradients"])
def test_a_class_that_does_not_run(tmp_path, change, said):
    model = make(tmp_path / "model")
    code = model / "modeling_odd.py"
    code.write_text(code.read_text().replace(change, said))
    message = command.refused("discover", model, "--trust-remote-code")
    assert "OddForCausalLM" in message or "its code cannot be examined: AssertionError" in message


def test_a_config_with_absurd_sizes(tmp_path):
    model = make(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**12}))
    assert "num_hidden_layers" in command.refused("discover", model, "--trust-remote-code")


def test_without_python_it_says_what_to_install(odd, tmp_path):
    environment = {**os.environ, "SPINOR_PYTHON": str(tmp_path / "none")}
    message = command.refused("discover", odd, env=environment)
    assert "spinor-llm[discover]" in message


@pytest.mark.parametrize("model_type, kind, exact", [
    ("jetmoe", "causal", {"R1", "R2"}),  # pieces of the normed tokens go to the experts
    ("whisper", "causal", {"R1", "R2"}),  # attention to what an encoder says
    ("gemma3n_text", "causal", {"R2"}),  # layers that read the values of others
    ("phi4_multimodal", "causal", {"R2"}),  # heads as many as their size goes into the stream
    ("fuyu", "image-text", {"R1", "R2"}),  # images without a tower
    ("moss_transcribe_diarize", "causal", {"R2"}),  # sound, which a norm scales before it is on the stream
    ("zamba2", "causal", {"R1", "R2"}),  # adapters that layers share among them
    ("molmo2", "image-text", {"R1", "R2"}),  # an embedding in two pieces
    ("xlm", "causal", {"R2"}),  # parts of layers in lists side by side
    ("qwen2_5_omni_thinker", "image-text", {"R1", "R2"}),  # images and sound, and a parameter that no code reads
])
def test_what_ships_is_what_is_found(model_type, kind, exact):
    found = discover_type(model_type, kind)
    assert set(found.proof.errors) == exact
    without = lambda text: [line for line in text.splitlines() if not line.startswith("proof:")]  # noqa: E731
    assert without(found.row) == without(rows.file_of(kind, model_type).read_text())


@pytest.mark.parametrize("blocks", [1, 2])
def test_layers_that_share_weights(tmp_path, blocks):
    """As published: a layer that has the block of another has none in the files, while the head is tied."""
    config = default_config("zamba2")
    config.num_mem_blocks = blocks
    made = tiny(config, shared=True, seed=3, variant=1)
    made.model.config.tie_word_embeddings = True
    made.model.tie_weights()
    save(made, tmp_path / "model", torch.float64)
    before = loaded(tmp_path / "model", made, torch.float64)
    spinor.rotate(tmp_path / "model", tmp_path / "out", rotations="R2", transform_type="random-orthogonal", seed=SEED,
                  progress=False)
    model, out = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("model", "out"))
    assert model != out
    one, other = (logits_of(model, made) for model in (before, loaded(tmp_path / "out", made, torch.float64)))
    assert float((one - other).abs().max() / one.std()) < EXACT
    with pytest.raises(spinor.InputError, match="its layers share no weights"):
        spinor.rotate(tmp_path / "model", tmp_path / "no", rotations="R1", progress=False)
