// All formulas of a row (architecture.h), with the keys that they stand under.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "spinor/family/architecture.h"

namespace spinor {

// Calls `see` with "linears.out" and "num_attention_heads * head_dim"; not with what is empty. Those of towers are not
// among them.
void each_formula(const Architecture& row,
                  const std::function<void(std::string_view key, const std::string& formula)>& see);

// Whether one of them has that name in it; of an attention without values its head_dim says nothing.
bool mentions(const Architecture& row, std::string_view name);

}  // namespace spinor
