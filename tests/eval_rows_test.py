"""`eval` runs a row that comes from YAML as the built-in one."""

import pytest
import torch

import tiny_models
from architecture_test import ROW, save_abc, with_names
from command import spinor_json
from eval_test import evaluated

# Rows in YAML of classes that spinor knows under another name, with all that is not as in Llama.
ATTENTION = """
- {name: self_attn.q_proj, out: num_attention_heads * head_dim, in: hidden_size, bias: attention_bias}
- {name: self_attn.k_proj, out: num_key_value_heads * head_dim, in: hidden_size, bias: attention_bias}
- {name: self_attn.v_proj, out: num_key_value_heads * head_dim, in: hidden_size, bias: attention_bias}
- {name: self_attn.o_proj, out: hidden_size, in: num_attention_heads * head_dim, bias: attention_bias}"""
MLP = """
- {name: mlp.gate_proj, out: intermediate_size, in: hidden_size}
- {name: mlp.up_proj, out: intermediate_size, in: hidden_size}
- {name: mlp.down_proj, out: hidden_size, in: intermediate_size}"""
READS = "reads: [self_attn.q_proj, self_attn.k_proj, self_attn.v_proj]"
ROWS = {
    (
        "qwen3",
        "wide_heads",
    ): f"""
names: [NovelForCausalLM]
linears: {ATTENTION}{MLP}
norms:
- {{name: input_layernorm, {READS}}}
- {{name: post_attention_layernorm, reads: [mlp.gate_proj, mlp.up_proj]}}
- {{name: self_attn.q_norm, size: head_dim}}
- {{name: self_attn.k_norm, size: head_dim}}
attention: {{query_norm: self_attn.q_norm, key_norm: self_attn.k_norm}}
forward: {{}}
""",
    (
        "gemma2",
        "tied",
    ): f"""
names: [NovelForCausalLM]
defaults: {{tie_word_embeddings: 'true', num_key_value_heads: '4', head_dim: '256', attention_bias: 'false'}}
linears: {ATTENTION}{MLP}
norms:
- {{name: input_layernorm, offset: 1, {READS}}}
- {{name: post_attention_layernorm, offset: 1}}
- {{name: pre_feedforward_layernorm, offset: 1, reads: [mlp.gate_proj, mlp.up_proj]}}
- {{name: post_feedforward_layernorm, offset: 1}}
outer_norms:
- {{name: norm, offset: 1, reads: [lm_head]}}
scaled_outputs: [post_attention_layernorm, post_feedforward_layernorm]
forward:
  activation: hidden_activation ?? 'gelu_pytorch_tanh'
  embedding_multiplier: sqrt(hidden_size)
  windowed: layer_types[L] == 'sliding_attention'
  sliding_window: {{absent: 4096}}
  attention_scale: 1 / sqrt(query_pre_attn_scalar ?? 256)
  attention_cap: {{key: attn_logit_softcapping, absent: 50}}
  logits_cap: {{key: final_logit_softcapping, absent: 30}}
""",
    (
        "mixtral",
        "plain",
    ): f"""
names: [NovelForCausalLM]
defaults: {{num_key_value_heads: '8', attention_bias: 'false'}}
experts: num_local_experts
linears: {ATTENTION}
- {{name: block_sparse_moe.gate, out: num_local_experts, in: hidden_size, router: true}}
- {{name: 'block_sparse_moe.experts.{{E}}.w1', out: intermediate_size, in: hidden_size}}
- {{name: 'block_sparse_moe.experts.{{E}}.w2', out: hidden_size, in: intermediate_size}}
- {{name: 'block_sparse_moe.experts.{{E}}.w3', out: intermediate_size, in: hidden_size}}
norms:
- {{name: input_layernorm, {READS}}}
- name: post_attention_layernorm
  reads: [block_sparse_moe.gate, 'block_sparse_moe.experts.{{E}}.w1', 'block_sparse_moe.experts.{{E}}.w3']
writes: [self_attn.o_proj, 'block_sparse_moe.experts.{{E}}.w2']
mlp_in: ['block_sparse_moe.experts.{{E}}.w1', 'block_sparse_moe.experts.{{E}}.w3']
mlp_out: ['block_sparse_moe.experts.{{E}}.w2']
forward:
  norm_epsilon: rms_norm_eps ?? 0.00001
  windowed: 'true'
  rope: {{theta: 'rope_theta ?? 1000000'}}
  router: {{name: block_sparse_moe.gate, normalized: 'true', chosen: 'num_experts_per_tok ?? 2'}}
""",
}


def without_times(result):
    if isinstance(result, list):
        return [without_times(each) for each in result]
    if isinstance(result, dict):
        return {key: without_times(value) for key, value in result.items() if key != "seconds"}
    return result


@pytest.mark.parametrize("family, case", ROWS)
def test_a_row_in_yaml_is_run_as_the_built_in_one(tmp_path, family, case):
    source, unknown, row = (tmp_path / name for name in ("source", "unknown", "row.yaml"))
    tiny_models.save(source, family, case, torch.float32)
    row.write_text(ROWS[family, case])
    with_names(source, unknown, "NovelForCausalLM", {})
    expected, result = (
        without_times(evaluated(tmp_path, model, "--context", 32, *options))
        for model, options in [(source, []), (unknown, ["--architecture", row])]
    )
    assert result == expected


def test_the_row_of_the_page_is_run_as_llama(tmp_path):
    abc = save_abc(tmp_path / "llama", tmp_path / "abc", torch.float32)
    (tmp_path / "abc.yaml").write_text(ROW)
    models = [(tmp_path / "llama", []), (abc, ["--architecture", tmp_path / "abc.yaml"])]
    expected, result = (without_times(evaluated(tmp_path, model, "--context", 32, *row)) for model, row in models)
    assert result == expected
    options = ["--token-ids", tmp_path / "tokens.json", "--context", 32, "--threads", 1, "--seeds", 1]
    compared = spinor_json("compare", abc, *options, "--scheme", "W8A8", *models[1][1])
    assert [variant["name"] for variant in compared["variants"]] == ["unrotated", "R1+R2", "R1+R2+R4"]
    assert compared["left_out"] == ["R3: decoder.blocks.0.attention is no attention: the blocks of its row give it no "
                                    "class that is called one"]
