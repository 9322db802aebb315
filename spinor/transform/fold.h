// What must happen before a rotation of the residual stream: untying, norm folding; and centring, for compatibility.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"

namespace spinor {

// A norm (name or regex) and the linears (names or regexes) that read through it. One linear may be given as a string.
struct NormMapping {
  std::string norm;
  std::vector<std::string> linears = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("norm", norm, required);
    v("linears", one_or_many(linears), required);
  }
};

// W <- W diag(offset + g) for every linear behind every norm, then g <- 1 - offset. A bias of a LayerNorm goes into
// those of its readers if all have one, else into their weights (FoldNormWithBias). mappings empty: norm_reads_of().
// Needs plan.untie() when the head is tied and read through a norm. To be called before anything rotates. Error for a
// norm that has no weight, has a bias and is no LayerNorm, or is folded already, a linear that is rotated already, and
// a mapping that matches nothing.
void fold_norms(const Model& model, RewritePlan& plan, const std::vector<NormMapping>& mappings = {});
// Those of the vision towers whose stream the config rotates.
void fold_tower_norms(const Model& model, RewritePlan& plan, const TransformConfig& config);
// The same for one norm and the linears that read through it, all of them.
void fold_norm(RewritePlan& plan, const Module& norm, const std::vector<const Module*>& linears);
// Each row of the embedding minus its mean (llm-compressor's center_embeddings). Not function-preserving for RMSNorm
// models. Error if the target (a name or regex) matches nothing, or something that is no embedding.
void center_embeddings(const Model& model, RewritePlan& plan, std::string_view embedding_target);

}  // namespace spinor
