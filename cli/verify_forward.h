// What verify does beyond the weights: it runs both models.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "spinor/base/json.h"
#include "spinor/model/model.h"
#include "spinor/runtime/options.h"

namespace spinor::cli {

// Throws NeedsTorch in the core.
void need_torch();

struct ForwardVerdict {
  Json json = {};
  std::string text = {};     // for people
  std::string problem = {};  // empty: passed
};
// `bound`: of logits (rms, in standard deviations) and of the products of every layer; nothing: no verdict, for an
// output that is an approximation.
ForwardVerdict verify_forward(const Model& source, const Model& output, std::span<const int32_t> tokens,
                              std::optional<double> bound, const runtime::RuntimeOptions& runtime);

}  // namespace spinor::cli
