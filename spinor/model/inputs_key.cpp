#include "spinor/model/inputs_key.h"

#include <fmt/format.h>

#include "spinor/model/module_name.h"

namespace spinor {

std::string inputs_key(const Module& linear) {
  const bool attention = linear.role == Role::attn_q || linear.role == Role::attn_k || linear.role == Role::attn_v;
  if (!attention && linear.role != Role::mlp_in) return linear.name;
  return fmt::format("{} {} {}", parent_of(linear.name), attention ? "attention" : "mlp", linear.shape.in);
}

}  // namespace spinor
