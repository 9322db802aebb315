#include "spinor/model/roles.h"

#include <algorithm>
#include <utility>

#include "spinor/base/list.h"

namespace spinor {
Role role_of(const Architecture& row, const LinearRow& linear) {
  const std::string& name = linear.name;
  if (linear.router) return Role::router;
  for (const AttentionRow* a : row.attentions()) {
    if (name == a->query && name == a->key) return Role::attn_qkv;
    if (name == a->query) return Role::attn_q;
    if (name == a->key) return Role::attn_k;
    if (contains(a->all_values(), name)) return Role::attn_v;
    if (name == a->output) return Role::attn_o;
  }
  if (contains(row.mlp_in, name)) return Role::mlp_in;
  if (contains(row.mlp_out, name)) return Role::mlp_out;
  return contains(row.writes, name) ? Role::attn_o : Role::attn_latent;
}

Role role_of(const Architecture& row, const NormRow& norm) {
  if (!norm.reads.empty()) return Role::stream_norm;
  if (contains(row.scaled_outputs, norm.name)) return Role::output_norm;
  const bool heads = std::ranges::any_of(row.attentions(), [&](const AttentionRow* one) {
    return norm.name == one->query_norm || norm.name == one->key_norm;
  });
  return heads ? Role::qk_norm : Role::inner_norm;
}

std::vector<std::string> activation_classes(const std::string& activation) {
  static constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
      {"silu", "SiLUActivation"},        {"swish", "SiLU"},
      {"gelu", "GELUActivation"},        {"gelu_new", "NewGELUActivation"},
      {"gelu_pytorch_tanh", "GELUTanh"}, {"relu", "ReLU"}};
  for (const auto& [name, type] : kClasses)
    if (name == activation) return {std::string(type), "Module"};
  return {"Module"};
}

}  // namespace spinor
