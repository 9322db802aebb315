#include "spinor/plan/plan.h"

#include <algorithm>
#include <utility>

#include "spinor/base/error.h"

namespace spinor {
namespace {

// A tied head and its embedding are one tensor, so an edit of either would silently be one of both.
void check_untied(const Model& model, const Module& module) {
  if (!model.tied_head() || (&module != model.head() && &module != model.embedding())) return;
  throw Error(module.name + ".weight", "cannot be edited: the embedding and the head are one tensor (tied)",
              "call untie() on the plan first");
}

}  // namespace

// In the order of the modules, which is the order transformers shards by; tensors that no module owns come last.
RewritePlan::RewritePlan(const Model& model) : model_(model) {
  const auto tensors = model.checkpoint().tensors();
  tensors_.reserve(tensors.size() + 1);
  const auto add = [this](const CheckpointTensor& tensor) { tensors_.push_back({tensor.info.name, &tensor, {}}); };
  for (const Module& module : model.modules()) {
    if (module.weight && model.owner(module.weight->info.name) == &module) add(*module.weight);
    if (module.bias) add(*module.bias);
  }
  for (const CheckpointTensor& tensor : tensors)
    if (!model.owner(tensor.info.name)) add(tensor);
}

TensorPlan& RewritePlan::at(std::string_view tensor) {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const TensorPlan& t) { return t.name == tensor; });
  if (found == tensors_.end()) throw Error(std::string(tensor), "is not among the tensors of the plan");
  return *found;
}

void RewritePlan::edit_weight(const Module& module, Edit edit) {
  if (!module.weight) throw Error(module.name, "has no weight to edit", "name a linear, an embedding or a norm");
  if (!untied_) check_untied(model_, module);
  at(module.name + ".weight").edits.push_back(std::move(edit));
}

void RewritePlan::edit_bias(const Module& module, Edit edit) {
  if (!module.bias) throw Error(module.name, "has no bias to edit");
  at(module.bias->info.name).edits.push_back(std::move(edit));
}

void RewritePlan::add_online(OnlineTransform transform) {
  online_.push_back(std::move(transform));
}

void RewritePlan::untie() {
  if (!model_.tied_head() || untied_) return;
  untied_ = true;
  const Module &head = *model_.head(), &embedding = *model_.embedding();
  if (head.weight == embedding.weight) tensors_.push_back({head.name + ".weight", embedding.weight, {}});
}

Json RewritePlan::config() const {
  Json config = model_.checkpoint().config();
  if (untied_) config["tie_word_embeddings"] = false;
  return config;
}

}  // namespace spinor
