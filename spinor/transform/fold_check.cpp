#include "spinor/transform/fold_check.h"

#include <algorithm>
#include <map>
#include <set>

#include "spinor/base/error.h"

namespace spinor {
namespace {

// By the tensor of a linear, the norm it reads through; only norms that are folded.
std::map<std::string, std::string> readers_of_folded_norms(const RewritePlan& plan) {
  std::set<std::string> folded;
  for (const TensorPlan& tensor : plan.tensors())
    if (std::ranges::any_of(tensor.edits, [](const Edit& edit) { return std::holds_alternative<Fill>(edit); }))
      folded.insert(tensor.name);
  std::map<std::string, std::string> norm_of;
  for (const Stream* stream : plan.model().streams())
    for (const NormReads& reads : stream->norm_reads) {
      const std::string norm = reads.norm->name + ".weight";
      if (!folded.contains(norm) || reads.norm->role == Role::mtp) continue;
      for (const Module* linear : reads.linears) norm_of[weight_name(*linear)] = norm;
    }
  return norm_of;
}

std::vector<std::string> norms_folded_into(const TensorPlan& tensor) {
  std::vector<std::string> norms;
  for (const Edit& edit : tensor.edits)
    if (const auto* fold = std::get_if<FoldNorm>(&edit))
      norms.push_back(fold->norm);
    else if (const auto* biased = std::get_if<FoldNormWithBias>(&edit))
      norms.push_back(biased->norm);
  return norms;
}

}  // namespace

void check_folds(const RewritePlan& plan) {
  const auto norm_of = readers_of_folded_norms(plan);
  for (const TensorPlan& tensor : plan.tensors()) {
    if (plan.model().role(tensor.name) == Role::mtp) continue;
    const auto found = norm_of.find(tensor.name);
    const std::vector<std::string> norms = norms_folded_into(tensor);
    if (found != norm_of.end() && norms.empty())
      throw Error(tensor.name, "reads through " + found->second + ", which is folded into other linears only",
                  "name it in the norm mapping");
    for (const std::string& norm : norms)
      if (found == norm_of.end() || norm != found->second)
        throw Error(tensor.name, "does not read through " + norm + ", which a norm mapping folds into it",
                    "remove it from the norm mapping");
  }
}

}  // namespace spinor
