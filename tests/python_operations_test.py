"""RotLLM's example with another import, matrices and operations of one's own, on Qwen2 and on Qwen2-VL with images."""

import re

import pytest
import torch
import transformers
from torch import nn

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none

import logits  # noqa: E402
import tiny_models  # noqa: E402
import tiny_vision  # noqa: E402
from command import ROOT  # noqa: E402
from spinor.modifiers import SpinQuantModifier  # noqa: E402

BOUND = {torch.float64: 1e-9}  # as in scales_test


@pytest.fixture
def source(tmp_path):
    tiny_models.save(tmp_path / "source", "llama", "power_of_two", torch.float32)
    return tmp_path / "source"


# RotLLM's example: classes, their operations, their iterator.
class MyQwen2(transformers.Qwen2ForCausalLM):
    pass


class MyQwen2VL(transformers.Qwen2VLForConditionalGeneration):
    pass


@spinor.NormLinearIterator.register_iterator
class Qwen2NormLinearIterator(spinor.NormLinearIterator):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def __iter__(self):
        decoder = self.model.get_decoder()
        for layer in decoder.layers:
            yield layer, "input_layernorm", [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
            yield layer, "post_attention_layernorm", [layer.mlp.up_proj, layer.mlp.gate_proj]
        yield decoder, "norm", [self.model.lm_head]

    @classmethod
    def supports_model(cls, model):
        return isinstance(model, (transformers.Qwen2ForCausalLM, transformers.Qwen2VLForConditionalGeneration))


@spinor.AutoOperation.register_operation("rotate_attn_v", nn.Module)
def rotate_values(attention, R_v):
    spinor.AutoOperation.rotate_output(attention.v_proj, R_v)
    spinor.AutoOperation.rotate_input(attention.o_proj, R_v.T)


@spinor.RotateOperationRegistry.register(MyQwen2)
@spinor.RotateOperationRegistry.register(MyQwen2VL)
def first_operation(model):
    spinor.fuse_layer_norms(model)


@spinor.RotateOperationRegistry.register(MyQwen2)
@spinor.RotateOperationRegistry.register(MyQwen2VL)
def second_operation(model, R, R_v=None):
    decoder = model.get_decoder()
    spinor.AutoOperation.rotate_output(decoder.embed_tokens, R)
    if isinstance(model, MyQwen2VL):
        spinor.AutoOperation.rotate_output(model.model.visual.merger.mlp[2], R)
    for layer in decoder.layers:
        spinor.AutoOperation.rotate_attn_v(layer.self_attn, R_v)
        for linear in (layer.self_attn.o_proj, layer.mlp.down_proj):
            spinor.AutoOperation.rotate_output(linear, R)
    for _, _, linears in spinor.NormLinearIterator.from_model(model):
        for linear in linears:
            spinor.AutoOperation.rotate_input(linear, R.T)


def qwen(model_class, family, case):
    """Norms and biases that are not trivial, in float64."""
    torch.manual_seed(0)
    config = tiny_models.make(family, case).config
    config.tie_word_embeddings = False
    model = model_class(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def outputs(model):
    return logits.logits(model, **(tiny_vision.prompt(model) if hasattr(model.config, "vision_config") else {}))


QWENS = [("Qwen2ForCausalLM", MyQwen2, "qwen2", "power_of_two"),
         ("Qwen2VLForConditionalGeneration", MyQwen2VL, "qwen2_vl", "untied")]


@pytest.mark.parametrize("name, own, family, case", QWENS)
def test_operations_of_ones_own_rotate_a_class(name, own, family, case):
    model = qwen(own, family, case)
    text = model.config.get_text_config()
    R = spinor.get_orthogonal_matrix(text.hidden_size, "hadamard")
    R_v = spinor.get_orthogonal_matrix(text.hidden_size // text.num_attention_heads, "random")
    embedding = model.get_input_embeddings()
    before, weight = outputs(model), embedding.weight.detach().clone()
    spinor.rotate_model(model, R, R_v=R_v)
    assert logits.difference(before, outputs(model))[0] <= BOUND[torch.float64]
    assert torch.allclose(embedding.weight, weight @ R) and (model.get_decoder().norm.weight == 1).all()
    for arguments, named in [((R, R_v, 3), {}), ((), {"seed": 1})]:
        with pytest.raises(TypeError, match="rotate_model: has no operation that takes"):
            spinor.rotate_model(model, *arguments, **named)
    with pytest.raises(ValueError, match="rotate_output: does not know Conv1d"):
        spinor.AutoOperation.rotate_output(nn.Conv1d(2, 2, 1), torch.eye(2))
    with pytest.raises(AttributeError, match="no operation 'rotate_attn_k'"):
        spinor.AutoOperation.rotate_attn_k(model)
    with pytest.raises(ValueError, match="no iterator over its norms supports it"):
        spinor.fuse_layer_norms(nn.Linear(2, 2))


def theirs(page, heading):
    """What a page shows of the tool that its readers know."""
    return re.search(rf"^## {heading}\n\n```\n(.*?)^```", page, re.MULTILINE | re.DOTALL).group(1)


@pytest.mark.parametrize("name, own, family, case", QWENS)
def test_the_example_of_rotllm_runs_with_another_import(name, own, family, case):
    model = qwen(getattr(transformers, name), family, case)
    before = outputs(model)
    embedding, values = model.get_input_embeddings().weight, model.get_decoder().layers[1].self_attn.v_proj
    weight, bias = embedding.detach().clone(), values.bias.detach().clone()
    code = theirs((ROOT / "docs" / "coming_from.md").read_text(), "RotLLM")
    names = {"model": model}
    exec(code.replace("import rotate", "import spinor as rotate"), names)
    assert logits.difference(before, outputs(model))[0] <= BOUND[torch.float64]
    R, R_v = names["R"], names["R_v"]
    assert torch.allclose(embedding, weight @ R) and not torch.allclose(embedding, weight)
    assert torch.allclose(values.bias.view(-1, len(R_v[1])), bias.view(-1, len(R_v[1])) @ R_v[1])


def test_the_tower_is_rotated_when_it_is_asked_for():
    for vision in (False, True):
        model = qwen(transformers.Qwen2VLForConditionalGeneration, "qwen2_vl", "untied")
        before, tower = outputs(model), model.model.visual.blocks[0].mlp.fc2.weight.detach().clone()
        spinor.rotate_model(model, rotations="R1", transform_type="random-hadamard", vision=vision, progress=False)
        assert logits.difference(before, outputs(model))[0] <= BOUND[torch.float64]
        assert torch.equal(tower, model.model.visual.blocks[0].mlp.fc2.weight) != vision


@pytest.mark.parametrize("mode, size", [("hadamard", 64), ("hadamard", 48), ("random", 7)])
def test_matrices_are_drawn_with_torchs_seed(mode, size):
    torch.manual_seed(4)
    R = spinor.get_orthogonal_matrix(size, mode)
    assert R.dtype == torch.float64 and torch.allclose(R @ R.T, torch.eye(size, dtype=torch.float64), atol=1e-13)
    assert mode == "random" or torch.allclose(R.abs(), torch.full_like(R, size**-0.5))
    other = spinor.get_orthogonal_matrix(size, mode)
    torch.manual_seed(4)
    assert torch.equal(R, spinor.get_orthogonal_matrix(size, mode)) and not torch.equal(R, other)


def test_matrices_that_are_none_are_refused(source):
    for size, mode, match in [(7, "hadamard", "no Hadamard matrix of that order"), (8, "dct", "mode: is 'dct'"),
                              (0, "random", "size: is 0"), ("8", "random", "size: is '8'")]:
        with pytest.raises(ValueError, match=match):
            spinor.get_orthogonal_matrix(size, mode)
    model = logits.load(source, torch.float32)
    before = logits.logits(model)
    R, R_v = spinor.get_orthogonal_matrix(64), spinor.get_orthogonal_matrix(16)
    for arguments, named, match in [
        ((R_v[:5],), {}, "R1: is not a square matrix"), ((R, R, R), {}, "takes model, R, R_v"),
        ((2 * R,), {}, "R1: is not orthogonal"), (("R1",), {}, "R1: is of type str"),
        ((R, [R_v]), {}, "R_v: has 1 matrices for 2 layers"), ((R,), {"rotation": "x"}, "is given R and rotation"),
        ((R,), {"recipe": SpinQuantModifier()}, "is given a recipe and R"),
        ((), {"recipe": SpinQuantModifier(), "rotations": ["R1"]}, "is given a recipe and rotations"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            spinor.rotate_model(model, *arguments, **named, progress=False)
    assert torch.equal(before, logits.logits(model))
