"""Modifiers as Python objects, llm-compressor's and compressed-tensors' objects, oneshot, and rotations that are
trained in a loop of one's own."""

import ast
import json

import compressed_tensors.quantization as ct_quantization
import compressed_tensors.transform as ct_transform
import pytest
import torch
from torch import nn

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none

import logits  # noqa: E402
import tiny_models  # noqa: E402
from command import BINARY, ROOT  # noqa: E402
from spinor.learnable import learnable_rotations  # noqa: E402
from spinor.modifiers import (  # noqa: E402
    GPTQModifier,
    Modifier,
    NormMapping,
    QuantizationModifier,
    QuIPModifier,
    SpinQuantMapping,
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


def test_mappings_are_objects_too(source, tmp_path):
    mapping = SpinQuantMapping(embedding="re:.*embed_tokens$", attn_q="re:.*q_proj$", attn_k="re:.*k_proj$",
                               attn_v="re:.*v_proj$", attn_o="re:.*o_proj$", lm_head="lm_head",
                               mlp_in=["re:.*up_proj$", "re:.*gate_proj$"], mlp_out=["re:.*down_proj$"])
    norms = [NormMapping(norm="re:.*input_layernorm$", linears=["re:.*q_proj$", "re:.*k_proj$", "re:.*v_proj$"]),
             NormMapping(norm="re:.*post_attention_layernorm$", linears=["re:.*up_proj$", "re:.*gate_proj$"]),
             NormMapping(norm="model.norm", linears=["lm_head"])]
    assert mapping.attn_head_dim is None and SpinQuantMapping(mapping) == mapping
    modifier = SpinQuantModifier(rotations=["R1"], mappings=mapping, norm_mappings=norms)
    spinor.rotate(source, tmp_path / "mapped", recipe=modifier, progress=False)
    spinor.rotate(source, tmp_path / "plain", recipe=SpinQuantModifier(rotations=["R1"]), progress=False)
    assert files(tmp_path / "mapped") == files(tmp_path / "plain")
    for wrong, match in [({"norm": "n"}, "NormMapping: needs linears"),
                         ({"norm": "n", "linear": []}, "has no field 'linear'; did you mean 'linears'")]:
        with pytest.raises(ValueError, match=match):
            NormMapping(**wrong)
    with pytest.raises(ValueError, match="TransformArgs: is given 3"):
        spinor.TransformArgs(3)
    assert spinor.TransformArgs(targets=["x"], location="input").inverse is False


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
        self.told, self.data = ["initialize"], state.data
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
    assert spinor.oneshot(model, [SpinQuantModifier(), doubling], ["rows"], progress=False) is model
    assert doubling.data == ["rows"]
    assert logits.difference(2 * before, logits.logits(model))[0] <= BOUND[torch.float32]
    assert doubling.told == ["initialize", "calibration_epoch_start", "calibration_epoch_end", "finalize"]
    for given, match in [({"dataset": ["x"]}, "dataset, and nothing in the recipe reads it"),
                         ({"scheme": "W4A16"}, "has no argument 'scheme' for a model in memory")]:
        with pytest.raises(TypeError, match=match):
            spinor.oneshot(model, [SpinQuantModifier()], **given)
    with pytest.raises(TypeError, match="model: is of type int"):
        spinor.oneshot(3, [doubling])
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


R1 = {"type": "random-hadamard", "requires_grad": True, "apply": [
    {"targets": ["re:.*embed_tokens$", "re:.*o_proj$", "re:.*down_proj$"], "location": "weight_output"},
    {"targets": ["re:.*(q|k|v|up|gate)_proj$", "lm_head"], "location": "weight_input", "inverse": True}]}


@pytest.mark.parametrize("recipe", [SpinQuantModifier(rotations=["R1"], learnable=True),
                                    [{"SpinQuantModifier": {"rotations": ["R1"], "learnable": True}}],
                                    ct_transform.TransformConfig(config_groups={"R1": R1})],
                         ids=lambda recipe: type(recipe).__name__)
def test_what_is_learnable_is_attached_to_be_trained(source, recipe):
    model = logits.load(source, torch.float32)
    before = logits.logits(model)
    if isinstance(recipe, ct_transform.TransformConfig):
        rotations = spinor.apply_transform_config(model, recipe, progress=False)
        assert recipe.config_groups["R1"].requires_grad, "it is left as it is"
    else:
        spinor.oneshot(model, recipe, progress=False)
        rotations = model.spinor_rotations
    assert [p for p in model.parameters() if p.requires_grad] == [*rotations.parameters()] != []
    start = rotations.matrices()["R1"]
    with torch.no_grad():
        next(rotations.parameters()).add_(0.1 * torch.randn(64, 64))
    assert (rotations.matrices()["R1"] - start).abs().max() > 0.05
    assert logits.difference(before, logits.logits(model))[0] <= BOUND[torch.float32]
    rotations.fuse(progress=False)
    assert logits.difference(before, logits.logits(model))[0] <= BOUND[torch.float32]
    assert not hasattr(model, "spinor_rotations")


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
