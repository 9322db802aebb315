// Which linears read through which norm of a model: what must be known to fold its norms. A program can add what it
// knows of its own models:
//
//   NormLinearIterator::register_iterator({
//       .name = "AbcNormLinearIterator",
//       .supports_model = [](const Model& model) { return is_instance(model, "AbcForCausalLM"); },
//       .pairs = [](const Model& model) -> std::vector<NormLinears> {
//         return {{"blocks.0", "norm", {"blocks.0.q", "blocks.0.k"}}, {"", "last_norm", {"head"}}};
//       },
//   });
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

// The norm <father>.<norm_name>, and the modules that read through it, by their whole names.
struct NormLinears {
  std::string father, norm_name;
  std::vector<std::string> linears;
};

struct NormLinearIterator {
  std::string name;
  std::function<bool(const Model&)> supports_model;
  std::function<std::vector<NormLinears>(const Model&)> pairs;  // in the order in which they are folded

  // Not thread-safe.
  static void register_iterator(NormLinearIterator iterator);
  // The first of those registered that supports the model; where none does, the row of its architecture. Error, which
  // says how to write one, for a model that has none either.
  static const NormLinearIterator& of(const Model& model);
};

// Whether this is the class of the model, as config.json's `architectures` names it, or a parent of that class.
bool is_instance(const Model& model, std::string_view model_class);

// What NormLinearIterator::of(model) names, as modules of the model, in its order. Error for a name that the model does
// not have, and for linears that are not those the row of a known architecture names.
std::vector<NormReads> norm_reads_of(const Model& model);

// Folds each of them: fold_norms() without mappings.
void fuse_layer_norms(const Model& model, RewritePlan& plan);

}  // namespace spinor
