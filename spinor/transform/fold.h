// What must happen before a rotation of the residual stream: untying, norm folding; and centring, for compatibility.
#pragma once

#include <string>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

// A norm (name or regex) and the linears (names or regexes) that read through it. One linear may be given as a string.
struct NormMapping {
  std::string norm;
  std::vector<std::string> linears;
};

// W <- W diag(offset + g) for every linear behind every norm, then g <- 1 - offset. mappings empty: the architecture's.
// Needs plan.untie() when the head is tied and read through a norm. Error for a norm without a weight.
void fold_norms(const Model& model, RewritePlan& plan, const std::vector<NormMapping>& mappings = {});
// Each row of the embedding minus its mean (llm-compressor's center_embeddings). Not function-preserving for RMSNorm models.
void center_embeddings(const Model& model, RewritePlan& plan, std::string_view embedding_target);

}  // namespace spinor
