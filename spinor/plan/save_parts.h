// What a save is made of, before anything is computed. For save.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "spinor/io/shard_layout.h"
#include "spinor/plan/save.h"
#include "spinor/plan/share.h"

namespace spinor {

// Of the weights, and so of online matrices.
DType model_dtype(const RewritePlan& plan, const SaveOptions& options);
// Where every tensor of the output lies.
OutputLayout output_layout(const RewritePlan& plan, const SaveOptions& options);
Json output_config(const RewritePlan& plan, const SaveOptions& options);
// What the bytes of the output depend on. A resume with anything else is refused.
Json save_job(const RewritePlan& plan, const SaveOptions& options);

// Of the plan's tensors, then of its online ones.
struct PlanShares {
  std::vector<ShareItem> items;  // bytes: written
  std::vector<int64_t> read;     // bytes
  std::vector<int> owners;       // ranks
};
PlanShares plan_shares(const RewritePlan& plan, const SaveOptions& options, const OutputLayout& layout);

}  // namespace spinor
