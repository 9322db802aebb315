#include "spinor/model/draft_words.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "spinor/model/module_name.h"

namespace spinor {
namespace {

bool has_any(const std::string& text, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

bool is_any(const std::string& text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

}  // namespace

bool names_attention(const std::string& name) {
  return has_any(name, {"attn", "attention"});
}

bool names_writer(const std::string& name) {
  const std::string last(last_component(name));
  return is_any(last, {"dense", "wo", "w2", "fc2", "o", "output"}) ||
         has_any(last, {"o_proj", "out_proj", "proj_out", "c_proj", "down", "4h_to_h", "fc_out", "output"});
}

bool names_router(const std::string& name) {
  return has_any(std::string(last_component(name)), {"router"}) ||
         is_any(std::string(last_component(name)), {"gate", "shared_expert_gate"});
}

bool names_mlp_norm(const std::string& name) {
  return has_any(name, {"post_attention", "mlp", "ffn", "feedforward", "ln_2", "norm2", "norm_2", "final"});
}

std::vector<std::string> attention_keys(const std::string& name) {
  const std::string last(last_component(name));
  if (has_any(last, {"qkv", "query_key_value", "c_attn", "in_proj"})) return {"query", "key", "value"};
  if (has_any(last, {"q_proj", "query", "wq"}) || last == "q") return {"query"};
  if (has_any(last, {"k_proj", "key", "wk"}) || last == "k") return {"key"};
  if (has_any(last, {"v_proj", "value", "wv"}) || last == "v") return {"value"};
  return {};
}

SizeNames::SizeNames(const Json& config) {
  const auto size = [&](const char* key) -> int64_t {
    const auto found = config.find(key);
    return found != config.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
  };
  hidden_ = size("hidden_size");
  const int64_t heads = size("num_attention_heads");
  const int64_t pairs = size("num_key_value_heads") > 0 ? size("num_key_value_heads") : heads;
  const int64_t dim = size("head_dim") > 0 ? size("head_dim") : heads > 0 ? hidden_ / heads : 0;
  of_heads_ = {{heads * dim, "num_attention_heads * head_dim"},
               {pairs * dim, "num_key_value_heads * head_dim"},
               {(heads + 2 * pairs) * dim, "(num_attention_heads + 2 * num_key_value_heads) * head_dim"}};
  others_ = {{hidden_, "hidden_size"},
             {size("vocab_size"), "vocab_size"},
             {size("intermediate_size"), "intermediate_size"},
             {2 * size("intermediate_size"), "2 * intermediate_size"},
             {dim, "head_dim"}};
  for (const char* key : {"moe_intermediate_size", "num_experts", "num_local_experts", "n_routed_experts",
                          "max_position_embeddings", "num_attention_heads", "num_key_value_heads"})
    others_.emplace_back(size(key), key);
}

std::string SizeNames::name(int64_t size, bool heads) const {
  const auto& first = heads ? of_heads_ : others_;
  const auto& second = heads ? others_ : of_heads_;
  for (const auto* names : {&first, &second})
    for (const auto& [value, formula] : *names)
      if (value == size && value > 0) return formula;
  return std::to_string(size);
}

}  // namespace spinor
