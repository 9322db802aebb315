#include "spinor/transform/norm_linear_iterator.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/model/module_name.h"
#include "spinor/transform/fold.h"
#include "spinor/transform/mtp.h"

namespace spinor {
namespace {

// Without those of multi-token prediction, which fold_mtp() folds.
std::vector<NormReads> reads_of_row(const Model& model) {
  const MtpFolding mtp = mtp_folding(model);
  std::vector<NormReads> all = model.stream().norm_reads;
  std::erase_if(all, [&](const NormReads& reads) {
    return !reads.norm->weight || reads.norm->role == Role::mtp || keeps(mtp, model, *reads.norm);
  });
  return all;
}

std::vector<NormLinears> pairs_of_row(const Model& model) {
  std::vector<NormLinears> pairs;
  for (const NormReads& reads : reads_of_row(model)) {
    const std::string& name = reads.norm->name;
    NormLinears& pair = pairs.emplace_back();
    pair.father = parent_of(name);
    pair.norm_name = last_component(name);
    for (const Module* linear : reads.linears) pair.linears.push_back(linear->name);
  }
  return pairs;
}

// A deque, because of() hands out references.
std::deque<NormLinearIterator>& registered() {
  static std::deque<NormLinearIterator> iterators;
  return iterators;
}

const NormLinearIterator& default_iterator() {
  static const NormLinearIterator iterator = {
      .name = "its architecture's row",
      .supports_model = [](const Model& model) { return model.architecture() != nullptr; },
      .pairs = pairs_of_row,
  };
  return iterator;
}

const Module& find(const Model& model, const std::string& name, const NormLinearIterator& iterator) {
  if (const Module* module = model.find(name)) return *module;
  throw Error(name, fmt::format("is named by {}, but the model has no such module", iterator.name));
}

// Of a known architecture the row knows who reads through a norm, and folding it into others would change the model.
void check_readers(const Model& model, const Module& norm, std::vector<const Module*> linears,
                   const NormLinearIterator& iterator) {
  if (!model.architecture()) return;
  const std::vector<NormReads>& all = model.stream().norm_reads;
  const auto row = std::ranges::find(all, &norm, &NormReads::norm);
  std::vector<const Module*> readers = row == all.end() ? std::vector<const Module*>() : row->linears;
  std::ranges::sort(readers);
  std::ranges::sort(linears);
  if (readers != linears)
    throw Error(norm.name, fmt::format("{} does not name the linears that read through it", iterator.name),
                "a norm is folded into all of those, and into no other");
}

}  // namespace

void NormLinearIterator::register_iterator(NormLinearIterator iterator) {
  if (iterator.name.empty() || !iterator.supports_model || !iterator.pairs)
    throw Error("NormLinearIterator", "needs a name, supports_model and pairs");
  registered().push_back(std::move(iterator));
}

const NormLinearIterator& NormLinearIterator::of(const Model& model) {
  for (const NormLinearIterator& iterator : registered())
    if (iterator.supports_model(model)) return iterator;
  if (default_iterator().supports_model(model)) return default_iterator();
  throw Error(
      std::string(model.architecture_name()),
      "no NormLinearIterator supports this model: which linears read through which norm?",
      "give norm_mappings in a recipe; or write one, whose supports_model returns true for it and whose pairs returns "
      "{father, norm "
      "name, linears} of each norm, and give it to NormLinearIterator::register_iterator");
}

bool is_instance(const Model& model, std::string_view model_class) {
  if (model.architecture_name() == model_class) return true;
  const Module* root = model.find("");
  return root && std::ranges::find(root->classes, model_class) != root->classes.end();
}

std::vector<NormReads> norm_reads_of(const Model& model) {
  const NormLinearIterator& iterator = NormLinearIterator::of(model);
  if (&iterator == &default_iterator()) return reads_of_row(model);
  std::vector<NormReads> all;
  for (const NormLinears& pair : iterator.pairs(model)) {
    const std::string prefix = pair.father.empty() ? "" : pair.father + ".";
    NormReads& reads = all.emplace_back(NormReads{&find(model, prefix + pair.norm_name, iterator), {}});
    for (const std::string& name : pair.linears) reads.linears.push_back(&find(model, name, iterator));
    check_readers(model, *reads.norm, reads.linears, iterator);
  }
  return all;
}

void fuse_layer_norms(const Model& model, RewritePlan& plan) {
  fold_norms(model, plan);
}

}  // namespace spinor
