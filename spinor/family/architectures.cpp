// The table of architectures. To add a family: a row beside those it resembles (family_rows.h); see CONTRIBUTING.md.
#include <algorithm>
#include <deque>
#include <mutex>

#include "spinor/base/error.h"
#include "spinor/family/family_rows.h"

namespace spinor {
namespace {

std::vector<Architecture> make_architectures() {
  std::vector<Architecture> rows;
  for (auto* families : {gated_families, fused_families, gemma_families, expert_families, layer_norm_families,
                         gpt_families, hybrid_families, vision_families})
    for (Architecture& row : families()) rows.push_back(std::move(row));
  return rows;
}

std::vector<RefusedArchitecture> make_refused_architectures() {
  return {
      {{"Gemma4ForConditionalGeneration"},
       "spinor does not know its vision and audio towers yet",
       "save its language model alone, as Gemma4ForCausalLM"},
      {{"BloomForCausalLM"},
       "R1 is impossible: a LayerNorm with weights stands between its embedding and the residual stream, and a "
       "rotation "
       "does not commute with it",
       "use a model whose embedding writes to the stream itself"},
  };
}

struct Registered {
  std::mutex mutex;
  std::deque<Architecture> rows;  // models keep pointers to them
};
Registered& registered() {
  static Registered all;
  return all;
}

template <typename Rows>
auto find_row(const Rows& rows, std::string_view name) -> decltype(&*rows.begin()) {
  for (const auto& row : rows)
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return &row;
  return nullptr;
}

}  // namespace

std::span<const Architecture> architectures() {
  static const std::vector<Architecture> rows = make_architectures();
  return rows;
}

std::span<const RefusedArchitecture> refused_architectures() {
  static const std::vector<RefusedArchitecture> rows = make_refused_architectures();
  return rows;
}

const Architecture* find_architecture(std::string_view name) {
  if (const Architecture* row = find_row(architectures(), name)) return row;
  Registered& more = registered();
  const std::lock_guard lock(more.mutex);
  return find_row(more.rows, name);
}

void register_architecture(Architecture row, const std::string& subject) {
  if (row.names.empty()) throw Error(subject, "has no names");
  for (const std::string& name : row.names)
    if (find_architecture(name)) throw Error(subject, name + " is known already", "give config.json another name");
  Registered& more = registered();
  const std::lock_guard lock(more.mutex);
  more.rows.push_back(std::move(row));
}

const RefusedArchitecture* find_refused_architecture(std::string_view name) {
  return find_row(refused_architectures(), name);
}

}  // namespace spinor
