"""Modifiers as Python objects, llm-compressor's and compressed-tensors' objects, oneshot, operations of one's own, and
rotations that are trained in a loop of one's own."""

import ast
import json

import compressed_tensors.quantization as ct_quantization
import compressed_tensors.transform as ct_transform
import pytest
import torch
import transformers
from torch import nn

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none

import logits  # noqa: E402
import tiny_models  # noqa: E402
from command import BINARY, ROOT  # noqa: E402
from spinor.learnable import learnable_rotations  # noqa: E402
from spinor.modifiers import (  # noqa: E402
    GPTQModifier,
    Modifier,
    QuantizationModifier,
    QuIPModifier,
    SpinQuantModifier,
)

BOUND = {torch.float64: 1e-9, torch.float32: 1e-4}  # as in scales_test


@pytest.fixture
def source(tmp_path):
    tiny_models.save(tmp_path / "source", "llama", "power_of_two", torch.float32)
    return tmp_path / "source"


def files(directory):
    return {file.name: file.read_bytes() for file in directory.glob("*.safetensors")}


def test_modifiers_have_their_fields_and_defaults():
    modifier = SpinQuantModifier(rotations=["R1"])
    assert modifier.rotations == ["R1"] and modifier.transform_type == "hadamard" and modifier.learnable is False
    assert repr(modifier) == "SpinQuantModifier(rotations=['R1'])" and modifier == SpinQuantModifier(rotations=["R1"])
    modifier.transform_type = "random-hadamard"
    assert modifier.to_dict() == {"rotations": ["R1"], "transform_type": "random-hadamard"}
    assert GPTQModifier(scheme="W4A16").dampening_frac == 0.01 and QuIPModifier().rotations == ["v"]
    for wrong, match in [({"rotation": ["R1"]}, "did you mean 'rotations'|rotations"), ({"rotations": 3}, "rotations"),
                         ({"rotations": ["R7"]}, "R7"), ({"transform_type": object()}, "not made of texts")]:
        with pytest.raises(ValueError, match=match):
            SpinQuantModifier(**wrong)
    with pytest.raises(ValueError):
        modifier.rotations = ["R9"]
    assert modifier.rotations == ["R1"], "what was refused did not happen"


def test_recipes_of_objects_are_those_of_text(source, tmp_path):
    recipes = {
        "objects": [SpinQuantModifier(rotations=["R1", "R2"]), QuantizationModifier(scheme="W8A8", ignore=["lm_head"])],
        "dicts": [{"SpinQuantModifier": {"rotations": ["R1", "R2"]}},
                  {"QuantizationModifier": {"scheme": "W8A8", "ignore": ["lm_head"]}}],
        "text": "a_stage:\n  a_modifiers:\n    SpinQuantModifier: {rotations: [R1, R2]}\n"
                "    QuantizationModifier: {scheme: W8A8, ignore: [lm_head]}\n",
    }  # fmt: skip
    for name, recipe in recipes.items():
        spinor.quantize(source, tmp_path / name, recipe=recipe, progress=False)
        assert files(tmp_path / name) == files(tmp_path / "objects")
    alone = spinor.plan(source, recipe=SpinQuantModifier(rotations=["R2"]))
    assert "R2" in str(alone)
    with pytest.raises(ValueError, match="Linear, which is no step of recipes"):
        spinor.quantize(source, tmp_path / "no", recipe=[nn.Linear(2, 2)], progress=False)


@pytest.mark.skipif(not BINARY.with_name("spinor-torch").exists(), reason="spinor-torch is not built")
def test_oneshot_is_quantize_with_a_dataset(source, tmp_path, monkeypatch):
    monkeypatch.setenv("SPINOR_TORCH_PROGRAM", str(BINARY.with_name("spinor-torch")))
    tokens = torch.randint(3, 72, (8 * 32,), generator=torch.Generator().manual_seed(2)).tolist()
    recipe = [SpinQuantModifier(), GPTQModifier(scheme="W8A8", ignore=["lm_head"])]
    given = {"num_calibration_samples": 8, "max_seq_length": 32, "progress": False}
    rows = [{"input_ids": tokens[i : i + 32]} for i in range(0, len(tokens), 32)]
    spinor.oneshot(model=source, recipe=recipe, dataset=rows, output_dir=tmp_path / "rows", **given)
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    spinor.quantize(source, tmp_path / "file", recipe=recipe, calibration=tmp_path / "tokens.json",
                    calibration_samples=8, calibration_context=32, progress=False)  # fmt: skip
    assert files(tmp_path / "rows") == files(tmp_path / "file")
    with pytest.raises(ValueError, match="row 0 has no 'text', but 'answer'"):
        spinor.oneshot(source, recipe, [{"answer": "x"}], output_dir=tmp_path / "no", **given)
    with pytest.raises(ValueError, match="has no rows"):
        spinor.oneshot(source, recipe, [], output_dir=tmp_path / "no", **given)
    with pytest.raises(TypeError, match="needs output_dir"):
        spinor.oneshot(source, recipe)
    assert not (tmp_path / "no").exists()


class Doubling(Modifier):
    """Of the head, and what it was told."""

    def on_initialize(self, state, **arguments):
        self.told = ["initialize"]
        state.model.lm_head.weight.data *= self.factor
        return True

    def on_event(self, state, event, **arguments):
        self.told.append(event.type_.value)

    def on_finalize(self, state, **arguments):
        self.told.append("finalize")
        return True


def test_oneshot_in_memory_runs_modifiers_written_in_python(source):
    model = logits.load(source, torch.float32)
    before = logits.logits(model)
    doubling = Doubling(factor=2)
    assert spinor.oneshot(model, [SpinQuantModifier(), doubling], progress=False) is model
    assert logits.difference(2 * before, logits.logits(model))[0] <= BOUND[torch.float32]
    assert doubling.told == ["initialize", "calibration_epoch_start", "calibration_epoch_end", "finalize"]
    with pytest.raises(ValueError, match="GPTQModifier: quantizes, which would need a copy"):
        spinor.oneshot(model, [GPTQModifier(scheme="W4A16")], progress=False)


def test_objects_of_compressed_tensors_are_taken_and_given_back(source, tmp_path):
    args = [{"targets": ["re:.*down_proj$"], "location": "input"},
            {"targets": ["re:.*down_proj$"], "location": "weight_input", "inverse": True}]
    theirs = ct_transform.TransformConfig(config_groups={"R4": {"type": "hadamard", "apply": args}})
    ours = spinor.TransformConfig(theirs)
    given_back = spinor.config.to_compressed_tensors(ours)
    assert type(given_back) is ct_transform.TransformConfig
    assert given_back.model_dump() == theirs.model_dump()
    scheme = ct_quantization.QuantizationScheme(targets=["Linear"], weights={"num_bits": 4, "strategy": "channel"})
    assert spinor.config.to_compressed_tensors(spinor.QuantizationScheme(scheme)) == scheme
    with pytest.raises(ValueError, match="has no field 'config_group'; did you mean 'config_groups'"):
        spinor.TransformConfig(config_group={})

    model = logits.load(source, torch.float32)
    before = logits.logits(model)
    for config in (theirs, ours):
        spinor.apply_transform_config(model, config, progress=False)
        assert logits.difference(before, logits.logits(model))[0] <= BOUND[torch.float32]
    quantized = QuantizationModifier(config_groups={"group_0": scheme}, ignore=["lm_head"])
    spinor.quantize(source, tmp_path / "out", recipe=[quantized], progress=False)
    names = {name for name, _ in spinor.match_named_modules(model, ["Linear"], ["re:.*lm_head", "LlamaMLP"])}
    assert names == {n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"}
    assert [n for n, _ in spinor.match_named_modules(model, ["model.norm"])] == ["model.norm"]


def hadamard(n, seed):
    signs = torch.randint(0, 2, (n,), generator=torch.Generator().manual_seed(seed)).double() * 2 - 1
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < n:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return signs[:, None] * matrix / n**0.5


# The seed's own example: a class, its operations, its iterator.
class MyQwen2(transformers.Qwen2ForCausalLM):
    pass


@spinor.NormLinearIterator.register_iterator
class Qwen2NormLinearIterator(spinor.NormLinearIterator):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def __iter__(self):
        for layer in self.model.model.layers:
            yield layer, "input_layernorm", [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
            yield layer, "post_attention_layernorm", [layer.mlp.up_proj, layer.mlp.gate_proj]
        yield self.model.model, "norm", [self.model.lm_head]

    @classmethod
    def supports_model(cls, model):
        return isinstance(model, transformers.Qwen2ForCausalLM)


@spinor.RotateOperationRegistry.register(MyQwen2)
def first_operation(model, **options):
    spinor.fuse_layer_norms(model)


@spinor.RotateOperationRegistry.register(MyQwen2)
def second_operation(model, seed=0):
    rotation = hadamard(model.config.hidden_size, seed)
    spinor.AutoOperation.rotate_output(model.model.embed_tokens, rotation)
    for layer in model.model.layers:
        for linear in (layer.self_attn.o_proj, layer.mlp.down_proj):
            spinor.AutoOperation.rotate_output(linear, rotation)
    for _, _, linears in spinor.NormLinearIterator.from_model(model):
        for linear in linears:
            spinor.AutoOperation.rotate_input(linear, rotation.T)


def test_operations_of_ones_own_rotate_a_class():
    torch.manual_seed(0)
    config = tiny_models.make("qwen2", "power_of_two").config
    config.tie_word_embeddings = False
    model = MyQwen2(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    before, weight = logits.logits(model), model.model.embed_tokens.weight.detach().clone()
    spinor.rotate_model(model, seed=3)
    assert logits.difference(before, logits.logits(model))[0] <= BOUND[torch.float64]
    assert torch.allclose(model.model.embed_tokens.weight, weight @ hadamard(config.hidden_size, 3))
    assert (model.model.norm.weight == 1).all()
    with pytest.raises(ValueError, match="does not know Conv1d"):
        spinor.AutoOperation.rotate_output(nn.Conv1d(2, 2, 1), torch.eye(2))
    with pytest.raises(ValueError, match="no iterator over its norms supports it"):
        spinor.fuse_layer_norms(nn.Linear(2, 2))


@pytest.mark.parametrize("family, case", [("llama", "power_of_two"), ("phi3", "plain"), ("gemma", "tied")])
def test_rotations_are_trained_in_a_loop_and_fused(tmp_path, family, case):
    source = tmp_path / "source"
    tiny_models.save(source, family, case, torch.float32)
    model = logits.load(source, torch.float32)
    before = logits.logits(model)
    rotations = learnable_rotations(model, seed=3)
    assert logits.difference(before, logits.logits(model))[0] <= BOUND[torch.float32], "where it begins it is exact"
    spinor.attach_low_bits(model, activations=4, kv=4)
    optimizer = torch.optim.Adam(rotations.parameters(), lr=0.004)
    inputs = torch.randint(3, 72, (4, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        target = before.new_tensor(0) + logits.logits(logits.load(source, torch.float32), inputs).softmax(-1)
    losses = []
    for _ in range(10):
        loss = -(target * model(inputs).logits.log_softmax(-1)).sum(-1).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert min(losses[5:]) < losses[0]
    matrices = rotations.matrices()
    assert {"R1", "R2.0", "R2.1"} <= matrices.keys()
    for name, matrix in matrices.items():
        assert (matrix @ matrix.T - torch.eye(len(matrix), dtype=torch.float64)).abs().max() <= 1e-6, name
    spinor.remove_low_bits(model)
    trained = logits.logits(model)
    rotations.fuse(progress=False)
    assert not any(hasattr(module, "parametrizations") for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters()), "they are frozen only meanwhile"
    assert logits.difference(before, logits.logits(model))[0] <= BOUND[torch.float32]
    assert logits.difference(trained, logits.logits(model))[0] <= BOUND[torch.float32]


def test_rotations_that_run_online_cannot_be_trained(source):
    with pytest.raises(ValueError, match="R4"):
        learnable_rotations(logits.load(source, torch.float32), rotations=["R1", "R4"])


def test_the_notebook_runs(tmp_path, monkeypatch):
    """Its cells, one after the other, as a kernel runs them."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "examples" / "spinor.ipynb").read_text())["cells"]
    names, shown = {}, []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"], "it is kept without outputs"
        *body, last = ast.parse(cell["source"]).body
        exec(compile(ast.Module(body, []), "notebook", "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), "notebook", "eval"), names))
        else:
            exec(compile(ast.Module([last], []), "notebook", "exec"), names)
    exact, low, trained, inspected = shown
    assert exact <= 1e-4 and low > 0 and trained <= 1e-4
    assert min(names["losses"]) < names["losses"][0]
    assert "<pre>" in inspected._repr_html_()
