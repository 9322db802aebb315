#include "spinor/model/checked_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "spinor/base/error.h"

namespace spinor {

bool CheckedTensors::is_there(const std::string& module) const {
  return checkpoint_.find(module + ".weight") != nullptr || checkpoint_.find(module) != nullptr;
}

const CheckpointTensor* CheckedTensors::shaped(const std::string& name, const std::vector<std::string>& formulas,
                                               int64_t layer) const {
  const CheckpointTensor* found = present(name);
  const std::vector<int64_t>& there = found->info.shape;
  if (formulas.size() == 1 && formulas[0] == kAny) return found;
  std::vector<int64_t> shape;
  for (const std::string& formula : formulas) {
    const size_t axis = shape.size();
    const bool any = formula == kAny && axis < there.size();
    shape.push_back(any ? there[axis] : size_of(formula, config_, layer));
  }
  if (found->info.shape != shape) fail_shape(*found, shape, formulas, layer);
  return found;
}

// One row may lie as a vector.
const CheckpointTensor* CheckedTensors::rows(const std::string& name, const std::string& rows,
                                             const std::string& columns) const {
  const bool vector = rows == "1" && present(name)->info.shape.size() == 1;
  return vector ? shaped(name, {columns}) : shaped(name, {rows, columns});
}

const CheckpointTensor* CheckedTensors::weight(const std::string& name, const LinearRow& row, int64_t layer) const {
  const std::string& count = row.count.empty() ? row_.experts : row.count;
  switch (row.layout) {
    case Layout::matrix:
      return shaped(name, {row.out, row.in}, layer);
    case Layout::transposed:
      return shaped(name, {row.in, row.out}, layer);
    case Layout::experts:
      return shaped(name, {count, row.out, row.in}, layer);
    case Layout::experts_transposed:
      return shaped(name, {count, row.in, row.out}, layer);
    case Layout::filter:
      return filter(name, row);
  }
  return nullptr;
}

const CheckpointTensor* CheckedTensors::filter(const std::string& name, const LinearRow& row) const {
  const CheckpointTensor* found = present(name);
  const int64_t out = size_of(row.out, config_), in = size_of(row.in, config_);
  if (found->info.shape.empty() || found->info.shape.front() != out || found->info.elements() != out * in)
    fail_shape(*found, {out, in}, {row.out, row.in}, -1);
  return found;
}

const CheckpointTensor* CheckedTensors::present(const std::string& name) const {
  const CheckpointTensor* found = checkpoint_.find(name);
  if (!found)
    throw Error(name, "is missing from the checkpoint", checkpoint_.hint_for_missing(name, missing_hint(name)));
  return found;
}

void CheckedTensors::fail_shape(const CheckpointTensor& tensor, const std::vector<int64_t>& shape,
                                const std::vector<std::string>& formulas, int64_t layer) const {
  std::vector<std::string> reasons;
  for (const std::string& formula : formulas) reasons.push_back(explain(formula, names_of(config_, layer)));
  throw Error(tensor.info.name,
              fmt::format("has shape ({}), but config.json says ({})", fmt::join(tensor.info.shape, ", "),
                          fmt::join(shape, ", ")),
              fmt::format("see {}", fmt::join(reasons, ", ")));
}

std::string CheckedTensors::missing_hint(const std::string& name) const {
  if (name == row_.head + ".weight") return "if the head is the embedding, config.json needs tie_word_embeddings: true";
  return fmt::format("{} with {} {} needs it", row_.names.empty() ? row_.classes : row_.names.front(), row_.num_layers,
                     *config_.num_layers);
}

}  // namespace spinor
