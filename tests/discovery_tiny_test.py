"""Tiny models that discovery makes of any class: the contract, sizes that tell formulas apart, the names of the files
that the model would be saved in, and what is refused."""

import re

import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

spinor = pytest.importorskip("spinor")  # PYTHONPATH=build/release/python; without nanobind there is none

from spinor.discovery.file_names import file_tensors  # noqa: E402
from spinor.discovery.float64 import widened  # noqa: E402
from spinor.discovery.tiny import CannotBuild, causal_types, image_text_types, tiny  # noqa: E402
from spinor.discovery.unread import unread_parameters  # noqa: E402

TYPES = (
    "llama",
    "gpt2",
    "opt",
    "qwen3_moe",
    "gpt_oss",
    "deepseek_v3",
    "deepseek_v4",
    "gemma3_text",
    "gemma4_text",
    "jamba",
    "qwen3_next",
    "nemotron_h",
    "recurrent_gemma",
)
IMAGES = ("llava", "qwen2_vl", "gemma3", "deepseek_ocr2", "fuyu")


def logits(made):
    with torch.no_grad(), widened():
        return made.model(**made.inputs, use_cache=False).logits


@pytest.mark.parametrize("model_type", TYPES)
def test_a_tiny_model(model_type):
    first, second = tiny(model_type), tiny(model_type, variant=1)
    for made in (first, second):
        assert made.kind == "causal"
        assert not made.model.training and not any(p.requires_grad for p in made.model.parameters())
        assert {t.dtype for t in made.model.parameters()} == {torch.float64}
        assert made.model.config._attn_implementation == "eager"
        head, embeddings = made.model.get_output_embeddings(), made.model.get_input_embeddings()
        assert head.weight.data_ptr() != embeddings.weight.data_ptr()
        assert sum(p.numel() for p in made.model.parameters()) < 3_000_000
        for name, weight in made.model.named_parameters():
            if "norm" in name.lower() and weight.dim() == 1:
                assert weight.std() > 0.1, name
        found = logits(made)
        assert found.dtype == torch.float64 and found.shape[:2] == made.inputs["input_ids"].shape
        assert torch.equal(found, logits(made))
    text = first.config.get_text_config(), second.config.get_text_config()
    assert text[0].num_hidden_layers > 1
    for key in ("hidden_size", "vocab_size", "num_attention_heads"):
        assert getattr(text[0], key) != getattr(text[1], key)


def test_a_seed_decides():
    one, same, other = tiny("llama"), tiny("llama"), tiny("llama", seed=1)
    assert torch.equal(logits(one), logits(same)) and not torch.equal(logits(one), logits(other))


def test_the_random_state_stays():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    tiny("llama")
    assert torch.equal(before, torch.get_rng_state()) and torch.get_default_dtype() == torch.float32


def test_heads_are_not_as_wide_as_the_stream():
    for variant in (0, 1):
        config = tiny("llama", variant=variant).config
        widths = {config.hidden_size, config.num_attention_heads * config.head_dim, config.intermediate_size}
        widths |= {config.num_key_value_heads * config.head_dim, config.head_dim, config.vocab_size}
        assert len(widths) == 6


def test_every_kind_of_layer_and_every_flag_of_a_config_is_kept():
    config = LlamaConfig(attention_bias=True, mlp_bias=True, hidden_act="relu", num_hidden_layers=40)
    small = tiny(config).config
    assert small.attention_bias and small.mlp_bias and small.hidden_act == "relu"
    assert set(tiny("gemma3_text").config.layer_types) == {"sliding_attention", "full_attention"}
    assert set(tiny("nemotron_h").config.layers_block_type) >= {"linear_attention", "moe", "full_attention", "mlp"}
    assert len(set(tiny("deepseek_v32").config.mlp_layer_types)) == 2
    assert config.num_hidden_layers == 40  # the user's own stays


def test_more_tokens_than_any_window():
    made = tiny("gemma3_text")
    assert made.inputs["input_ids"].shape[1] > made.config.sliding_window + 1


@pytest.mark.parametrize("model_type", IMAGES)
def test_images(model_type):
    text, images = (tiny(model_type, kind="image-text", images=wanted) for wanted in (False, True))
    assert text.kind == images.kind == "image-text"
    assert "pixel_values" not in text.inputs
    before = logits(images)
    images.inputs["pixel_values"] = images.inputs["pixel_values"] + 1
    assert not torch.equal(before, logits(images))


def test_what_an_encoder_says():
    """Of a decoder that has attentions to one: all that reads it is run."""
    made = tiny("whisper")
    before = logits(made)
    made.inputs["encoder_outputs"] = made.inputs["encoder_outputs"] + 1
    assert not torch.equal(before, logits(made))
    assert set(tiny("gpt2").inputs) == {"input_ids"}  # asks for it, and has no such attention


def test_sound():
    """Beside the images, and all that is told of tokens is as long as they are."""
    made = tiny("qwen3_omni_moe_thinker", kind="image-text", images=True)
    assert made.has_towers and {"pixel_values", "input_features"} <= set(made.inputs)
    before = logits(made)
    made.inputs["input_features"] = made.inputs["input_features"] + 1
    assert not torch.equal(before, logits(made))


def test_what_no_code_reads():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.read, self.forgotten, self.side_1 = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return getattr(self, f"side_{1}")(self.read(x))

    assert unread_parameters(nn.Sequential(Part(), nn.LayerNorm(3))) == {"0.forgotten.weight", "0.forgotten.bias"}


def test_types():
    assert {"llama", "mixtral"} <= set(causal_types()) and {"llava", "qwen2_vl"} <= set(image_text_types())


def part(found, memory):
    """What `found`, the provenance of a file tensor, says of that tensor."""
    shape = [len(axis[0].index) if axis else 1 for axis in found.axes]
    at = [torch.tensor(found.fixed.get(axis, 0)) for axis in range(memory.dim())]
    for number, axis in enumerate(found.axes):
        for along in axis:
            at[along.axis] = along.index.reshape([-1 if i == number else 1 for i in range(len(shape))])
    return memory[tuple(at)].expand(shape) if memory.dim() else memory


def saved(model, folder):
    model.save_pretrained(folder)
    with safe_open(next(folder.glob("*.safetensors")), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize(
    "model_type", ("mixtral", "qwen3_moe", "gpt_oss", "llama4", "deepseek_v3", "phi3", "qwen2_vl", "llava")
)
def test_where_the_tensors_of_files_come_from(tmp_path, model_type):
    model = tiny(model_type).model if model_type in causal_types() else tiny(model_type, kind="image-text").model
    files, state = saved(model, tmp_path), model.state_dict()
    found = file_tensors(model)
    assert found.keys() == files.keys()
    for name, parts in found.items():
        for at in parts:
            expected = files[name] if at.rows is None else files[name].index_select(at.rows_axis, at.rows)
            assert torch.equal(part(at, state[at.tensor]), expected), name


def test_experts_in_files_are_parts_of_those_in_memory():
    found = file_tensors(tiny("qwen3_moe").model)
    (up,) = found["model.layers.0.mlp.experts.1.up_proj.weight"]
    assert up.tensor == "model.layers.0.mlp.experts.gate_up_proj" and up.fixed == {0: 1} and up.order == (1, 2)
    rows, columns = (axis[0] for axis in up.axes)
    assert (rows.begin, rows.step, len(rows.index)) == (28, 1, 28) and columns.begin == 0 and not up.same
    assert found["model.norm.weight"][0].same


def test_tied_weights_are_named_once():
    model = tiny("llama").model
    model.lm_head.weight = model.model.embed_tokens.weight
    model.config.tie_word_embeddings = True
    found = file_tensors(model)
    assert "lm_head.weight" not in found and "model.embed_tokens.weight" in found


class OwnConfig(PreTrainedConfig):
    model_type = "own_decoder"

    def __init__(self, fault="", hidden_size=64, vocab_size=1000, table=1, **more):
        self.fault, self.hidden_size, self.vocab_size, self.table = fault, hidden_size, vocab_size, table
        super().__init__(**more)


class OwnForCausalLM(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        if config.fault == "build":
            raise KeyError("no such thing")
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.table = nn.Parameter(torch.zeros(config.table))
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, **options):
        hidden = self.embeddings(input_ids)
        match self.config.fault:
            case "forward":
                raise RuntimeError("shapes do not fit")
            case "logits":
                return BaseModelOutput(last_hidden_state=hidden)
            case "random":
                hidden = hidden + torch.rand_like(hidden)
            case "infinite":
                hidden = hidden / 0
        return CausalLMOutput(logits=self.head(hidden))


@pytest.fixture(scope="module", autouse=True)
def registered():
    AutoConfig.register("own_decoder", OwnConfig)
    AutoModelForCausalLM.register(OwnConfig, OwnForCausalLM)


def test_a_class_of_ones_own():
    made = tiny(OwnConfig())
    assert made.config.hidden_size < 64 and made.config.vocab_size < 1000


@pytest.mark.parametrize(
    "fault, said",
    [
        ("build", "OwnConfig|own_decoder: no tiny model of it can be built: KeyError: 'no such thing'"),
        ("forward", "OwnForCausalLM: its forward raises RuntimeError: shapes do not fit"),
        ("logits", "OwnForCausalLM: its forward gives no logits"),
        ("random", "OwnForCausalLM: it is not deterministic"),
        ("infinite", "OwnForCausalLM: its logits are not finite"),
    ],
)
def test_what_is_no_model(fault, said):
    with pytest.raises(CannotBuild, match=said):
        tiny(OwnConfig(fault=fault))


def test_sizes_that_cannot_be():
    with pytest.raises(CannotBuild, match="config says hidden_size -4"):
        tiny(OwnConfig(hidden_size=-4))
    with pytest.raises(CannotBuild, match=re.escape("makes a tensor (30000000,)")):
        tiny(OwnConfig(table=30_000_000))


def test_code_of_its_own_needs_consent(tmp_path):
    code = '''
import torch
from transformers import LlamaConfig, LlamaForCausalLM


class TheirConfig(LlamaConfig):
    model_type = "their_decoder"


class TheirForCausalLM(LlamaForCausalLM):
    config_class = TheirConfig
'''
    (tmp_path / "modeling_theirs.py").write_text(code)
    LlamaConfig(num_hidden_layers=12).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    own = '{"auto_map": {"AutoConfig": "modeling_theirs.TheirConfig", "AutoModelForCausalLM": "modeling_theirs.%s"},'
    path.write_text(
        path.read_text().replace("{", own % "TheirForCausalLM", 1).replace('"llama"', '"their_decoder"')
    )
    config = AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    with pytest.raises(CannotBuild, match="trust_remote_code"):
        tiny(config)
    made = tiny(config, trust_remote_code=True)
    assert type(made.model).__name__ == "TheirForCausalLM" and made.config.num_hidden_layers == 2


def test_types_that_there_are_not():
    with pytest.raises(CannotBuild, match="no such model type"):
        tiny("nonsense")
    with pytest.raises(CannotBuild, match="no decoder"):
        tiny("vit")
    with pytest.raises(CannotBuild, match="encoder with a decoder"):
        tiny("florence2")
