// Linears that programs read as one, because one kernel computes them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spinor {

struct FusedLinears {
  std::string_view name;                // vLLM's and SGLang's, of the whole: "qkv_proj"
  std::vector<std::string_view> parts;  // side by side in one module, in the order of their rows
};
std::span<const FusedLinears> fused_linears();

// The whole of which a linear of this name is a part: "model.layers.0.self_attn.qkv_proj"; empty: of none.
std::string fused_name(std::string_view linear);

}  // namespace spinor
