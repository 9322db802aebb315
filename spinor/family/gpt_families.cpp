// Families with LayerNorms from before Llama, each with names of its own.
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

const std::string kWide = "intermediate_size", kHead = "head_dim";
constexpr const char* kGptEpsilon = "layer_norm_epsilon ?? 0.00001";

// Blocks `attention` and `mlp`, whose linears are named without them; `fused`: query, key and value in one.
struct BlockNames {
  std::string attention, fused, output, mlp, in, out;
};

Architecture two_blocks(std::string classes, const BlockNames& names) {
  const auto join = [](const std::string& block, const std::string& name) { return block + "." + name; };
  Architecture row;
  row.classes = std::move(classes);
  row.blocks = {{names.attention, "Attention"}, {names.mlp, "MLP"}};
  row.attention.output = join(names.attention, names.output);
  row.attention.query = row.attention.key = join(names.attention, names.fused);
  row.attention.value = row.attention.query + ".v_proj";
  row.mlp_in = {join(names.mlp, names.in)};
  row.mlp_out = {join(names.mlp, names.out)};
  row.writes = {row.attention.output, row.mlp_out[0]};
  return row;
}

void set_final_norm(Architecture& row, const std::string& name) {
  row.outer_norms = {{name, kHidden, {row.head}}};
}

const NamePairs kGptKeys = {{"vocab_size", "50257"},
                            {"n_positions", "1024"},
                            {"hidden_size", "n_embd"},
                            {"num_hidden_layers", "n_layer"},
                            {"num_attention_heads", "n_head"}};
// Of classes whose heads are all alike, and as wide together as the stream.
const NamePairs kPlainHeads = {{"num_key_value_heads", "num_attention_heads"},
                               {"head_dim", "hidden_size / num_attention_heads"}};

NamePairs with_plain_heads(NamePairs renamed) {
  renamed.insert(renamed.end(), kPlainHeads.begin(), kPlainHeads.end());
  return renamed;
}

const NamePairs kGptRenamed = with_plain_heads({{"intermediate_size", "n_inner ?? 4 * hidden_size"},
                                                {"hidden_act", "activation_function ?? 'gelu_new'"},
                                                {"n_positions", "max_position_embeddings ?? n_positions"}});

// Conv1D: weights stored (in, out). Published files have no prefix, but the mask of each layer.
Architecture gpt2() {
  Architecture row = two_blocks("GPT2", {"attn", "c_attn", "c_proj", "mlp", "c_fc", "c_proj"});
  row.names = {"GPT2LMHeadModel"};
  row.defaults = kGptKeys;
  row.renamed = kGptRenamed;
  row.defaults.emplace_back("tie_word_embeddings", "true");
  row.roots = {"transformer.", ""};
  row.embeddings = {{"wte", "vocab_size"}, {"wpe", "n_positions"}};
  row.layers = "h";
  row.linears = {{"attn.c_attn", "3 * hidden_size", kHidden, "true", "", Layout::transposed},
                 {"attn.c_proj", kHidden, kHidden, "true", "", Layout::transposed},
                 {"mlp.c_fc", kWide, kHidden, "true", "", Layout::transposed},
                 {"mlp.c_proj", kHidden, kWide, "true", "", Layout::transposed}};
  row.parts = {{"attn.c_attn", "v_proj", "2 * hidden_size", kHidden, ""}};
  row.norms = {{"ln_1", kHidden, {"attn.c_attn"}}, {"ln_2", kHidden, {"mlp.c_fc"}}};
  set_final_norm(row, "ln_f");
  row.buffers = {".attn.bias", ".attn.masked_bias"};
  row = with_layer_norms(row, "true");
  change_forward(row, [](ForwardRow& forward) {
    forward.unsupported = {{"!(scale_attn_weights ?? true)", "its scores are not scaled"},
                           {"scale_attn_by_inverse_layer_idx ?? false", "its scores are scaled layer by layer"},
                           {"add_cross_attention ?? false", "it has cross-attention"}};
    forward.norm_epsilon = kGptEpsilon;
    forward.rope = {};
  });
  return row;
}

// Query, key and value of one head follow each other.
Architecture gpt_neox() {
  Architecture row =
      two_blocks("GPTNeoX", {"attention", "query_key_value", "dense", "mlp", "dense_h_to_4h", "dense_4h_to_h"});
  row.names = {"GPTNeoXForCausalLM"};
  row.defaults = {{"attention_bias", "true"}};
  row.renamed = kPlainHeads;
  row.roots = {"gpt_neox.", ""};
  row.embeddings = {{"embed_in", "vocab_size"}};
  row.linears = {{"attention.query_key_value", "3 * hidden_size", kHidden, "attention_bias"},
                 {"attention.dense", kHidden, kHidden, "attention_bias"},
                 {"mlp.dense_h_to_4h", kWide, kHidden, "true"},
                 {"mlp.dense_4h_to_h", kHidden, kWide, "true"}};
  row.parts = {{"attention.query_key_value", "v_proj", "2 * head_dim", kHead, "3 * head_dim"}};
  row.norms = {{"input_layernorm", kHidden, {"attention.query_key_value"}},
               {"post_attention_layernorm", kHidden, {"mlp.dense_h_to_4h"}}};
  row.head = "embed_out";
  row.loaded_as = {{"embed_out", "lm_head"}};
  set_final_norm(row, "final_layer_norm");
  row.buffers = {".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq"};
  row = with_layer_norms(row, "true");
  change_forward(row, [](ForwardRow& forward) {
    forward.activation = "hidden_act ?? 'gelu'";
    forward.parallel = "use_parallel_residual ?? true";
    forward.rope = {.theta = "rotary_emb_base ?? 10000", .fraction = "rotary_pct ?? 0.25"};
  });
  return row;
}

// Attention and MLP read one norm; the head has a bias.
Architecture gptj(const std::string& classes, Architecture row) {
  row.names = {classes + "ForCausalLM"};
  row.defaults = kGptKeys;
  row.renamed = kGptRenamed;
  row.roots = {"transformer.", ""};
  row.embeddings = {{"wte", "vocab_size"}};
  row.layers = "h";
  row.linears.push_back({"attn.out_proj", kHidden, kHidden});
  row.linears.push_back({"mlp.fc_in", kWide, kHidden, "true"});
  row.linears.push_back({"mlp.fc_out", kHidden, kWide, "true"});
  std::vector<std::string> reads = {row.attention.query};
  if (row.attention.key != row.attention.query) reads = {row.attention.query, row.attention.key, row.attention.value};
  reads.push_back("mlp.fc_in");
  row.norms = {{"ln_1", kHidden, reads}};
  set_final_norm(row, "ln_f");
  row.head_bias = "true";
  row.buffers = {".attn.bias", ".attn.masked_bias", ".attn.causal_mask", ".attn.embed_positions"};
  row = with_layer_norms(row, "true");
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = kGptEpsilon;
    forward.parallel = "true";
    forward.rope = {.theta = "10000", .size = "rotary_dim ?? 64", .interleaved = "true"};
  });
  return row;
}

Architecture gptj() {
  Architecture row = two_blocks("GPTJ", {"attn", "q_proj", "out_proj", "mlp", "fc_in", "fc_out"});
  row.attention.key = "attn.k_proj";
  row.attention.value = "attn.v_proj";
  for (const char* name : {"attn.k_proj", "attn.v_proj", "attn.q_proj"})
    row.linears.push_back({name, kHidden, kHidden});
  return gptj("GPTJ", row);
}

// Four blocks of a quarter of the heads each: queries, values, keys.
Architecture codegen() {
  Architecture row = two_blocks("CodeGen", {"attn", "qkv_proj", "out_proj", "mlp", "fc_in", "fc_out"});
  row.linears = {{"attn.qkv_proj", "3 * hidden_size", kHidden}};
  row.parts = {{"attn.qkv_proj", "v_proj", "hidden_size / 4", "hidden_size / 4", "3 * hidden_size / 4"}};
  return gptj("CodeGen", row);
}

// Positions are added after project_in, and the head reads project_out, where there are those. The 350m norms each
// block's output together with the stream.
Architecture opt() {
  const std::string bias = "enable_bias", before = "do_layer_norm_before", after = "!do_layer_norm_before",
                    same = "word_embed_proj_dim == hidden_size", other = "word_embed_proj_dim != hidden_size",
                    affine = "layer_norm_elementwise_affine", bare = "!layer_norm_elementwise_affine";
  Architecture row;
  row.names = {"OPTForCausalLM"};
  row.classes = "OPT";
  row.renamed =
      with_plain_heads({{"intermediate_size", "ffn_dim ?? 3072"}, {"hidden_act", "activation_function ?? 'relu'"}});
  row.defaults = {{"word_embed_proj_dim", "hidden_size"},
                  {"do_layer_norm_before", "true"},
                  {"enable_bias", "true"},
                  {"layer_norm_elementwise_affine", "true"},
                  {"tie_word_embeddings", "true"}};
  row.roots = {"model.decoder.", "decoder."};
  row.embeddings = {{"embed_tokens", "vocab_size", "word_embed_proj_dim", same},
                    {"embed_positions", "max_position_embeddings + 2"}};
  row.blocks = {{"self_attn", "Attention"}};
  for (const char* name : {"self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj"})
    row.linears.push_back({name, kHidden, kHidden, bias});
  row.linears.push_back({"fc1", kWide, kHidden, bias});
  row.linears.push_back({"fc2", kHidden, kWide, bias});
  row.attention.output = "self_attn.out_proj";
  row.mlp_in = {"fc1"};
  row.mlp_out = {"fc2"};
  row.writes = {"self_attn.out_proj", "fc2", "project_in"};
  row.norms = {{"self_attn_layer_norm", kHidden, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, before},
               {"final_layer_norm", kHidden, {"fc1"}, before},
               {"self_attn_layer_norm", kHidden, {}, after},
               {"final_layer_norm", kHidden, {}, after}};
  row.outer_linears = {{"project_out", "word_embed_proj_dim", kHidden, "", other},
                       {"project_in", kHidden, "word_embed_proj_dim", "", other}};
  const std::string final = before + " && !(_remove_final_layer_norm ?? false)";
  row.outer_norms = {{"final_layer_norm", kHidden, {"lm_head"}, final + " && " + same},
                     {"final_layer_norm", kHidden, {"project_out"}, final + " && " + other}};
  row.refusals = {
      {"R1",
       "its LayerNorms stand behind the sums of the residual stream, and the stream is scaled by them, entry "
       "by entry",
       after},
      {"R1", "no final norm stands before the head", "_remove_final_layer_norm ?? false"}};
  row = with_layer_norms(row, affine);
  for (std::vector<NormRow>* norms : {&row.norms, &row.outer_norms})
    for (NormRow& norm : *norms) norm.weightless = bare;
  change_forward(row, [&](ForwardRow& forward) {
    forward.norm_epsilon = "0.00001";
    forward.rope = {};
    forward.first_position = 2;
    forward.project_in = "project_in";
    forward.project_out = "project_out";
    forward.norms_of_sums = {"self_attn_layer_norm", "final_layer_norm"};
    forward.norms_sums = after;
  });
  return row;
}

// Rows of query_key_value: groups of queries with one key and one value, or all queries with one of each, or head by
// head. One norm for both blocks, or one each, side by side or in turn.
Architecture falcon() {
  Architecture row =
      two_blocks("Falcon", {"self_attention", "query_key_value", "dense", "mlp", "dense_h_to_4h", "dense_4h_to_h"});
  const std::string grouped = "new_decoder_architecture", shared = "!new_decoder_architecture && multi_query",
                    separate = "!new_decoder_architecture && !multi_query", bias = "bias",
                    queries = "num_attention_heads / num_kv_heads", linear = "self_attention.query_key_value";
  row.names = {"FalconForCausalLM"};
  row.renamed = {{"num_key_value_heads", "num_kv_heads"},
                 {"head_dim", "hidden_size / num_attention_heads"},
                 {"intermediate_size", "ffn_hidden_size ?? 4 * hidden_size"},
                 {"hidden_act", "activation ?? 'gelu'"}};
  row.defaults = {{"num_kv_heads", "num_attention_heads"},
                  {"new_decoder_architecture", "false"},
                  {"multi_query", "true"},
                  {"parallel_attn", "true"},
                  {"bias", "false"},
                  {"tie_word_embeddings", "true"}};
  row.roots = {"transformer.", ""};
  row.embeddings = {{"word_embeddings", "vocab_size"}};
  row.layers = "h";
  row.linears = {{linear, "(" + queries + " + 2) * num_kv_heads * head_dim", kHidden, bias, grouped},
                 {linear, "(num_attention_heads + 2) * head_dim", kHidden, bias, shared},
                 {linear, "3 * hidden_size", kHidden, bias, separate},
                 {"self_attention.dense", kHidden, kHidden, bias},
                 {"mlp.dense_h_to_4h", kWide, kHidden, bias},
                 {"mlp.dense_4h_to_h", kHidden, kWide, bias}};
  row.parts = {
      {linear, "v_proj", "(" + queries + " + 1) * head_dim", kHead, "(" + queries + " + 2) * head_dim", grouped},
      {linear, "v_proj", "(num_attention_heads + 1) * head_dim", kHead, "", shared},
      {linear, "v_proj", "2 * head_dim", kHead, "3 * head_dim", separate}};
  const std::string pair = "(num_ln_in_parallel_attn == 2 || num_ln_in_parallel_attn == null && " + grouped + ")",
                    one = "parallel_attn && !" + pair, two = "parallel_attn && " + pair, in_turn = "!parallel_attn",
                    wide = "mlp.dense_h_to_4h";
  row.norms = {{"input_layernorm", kHidden, {linear, wide}, one},
               {"ln_attn", kHidden, {linear}, two},
               {"ln_mlp", kHidden, {wide}, two},
               {"input_layernorm", kHidden, {linear}, in_turn},
               {"post_attention_layernorm", kHidden, {wide}, in_turn}};
  set_final_norm(row, "ln_f");
  row = with_layer_norms(row, "true");
  change_forward(row, [](ForwardRow& forward) {
    forward.norm_epsilon = kGptEpsilon;
    forward.activation = "activation ?? 'gelu'";
    forward.parallel = "parallel_attn";
    forward.alibi = "alibi ?? false";
    forward.rope = {.when = "!(alibi ?? false)"};
  });
  return row;
}

}  // namespace

std::vector<Architecture> gpt_families() {
  return {gpt2(), gpt_neox(), gptj(), codegen(), opt(), falcon()};
}

}  // namespace spinor
