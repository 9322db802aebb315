#include "spinor/model/fused_linears.h"

#include <algorithm>

#include "spinor/model/module_name.h"

namespace spinor {

std::span<const FusedLinears> fused_linears() {
  static const std::vector<FusedLinears> all = {
      {"qkv_proj", {"q_proj", "k_proj", "v_proj"}},
      {"gate_up_proj", {"gate_proj", "up_proj"}},
      {"gate_up_proj", {"w1", "w3"}},
      {"fused_qkv_a_proj", {"q_a_proj", "kv_a_proj_with_mqa"}},
      {"in_proj_qkvz", {"in_proj_qkv", "in_proj_z"}},
      {"in_proj_ba", {"in_proj_b", "in_proj_a"}},
  };
  return all;
}

std::string fused_name(std::string_view linear) {
  const std::string_view last = last_component(linear);
  for (const FusedLinears& fused : fused_linears())
    if (std::ranges::find(fused.parts, last) != fused.parts.end())
      return std::string(linear.substr(0, linear.size() - last.size())) + std::string(fused.name);
  return {};
}

}  // namespace spinor
