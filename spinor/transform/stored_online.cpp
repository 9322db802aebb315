#include "spinor/transform/stored_online.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "spinor/base/error.h"
#include "spinor/model/match.h"
#include "spinor/model/quantized_source.h"
#include "spinor/model/weight_reader.h"
#include "spinor/transform/config.h"
#include "spinor/transform/factory.h"
#include "spinor/transform/fold_online.h"

namespace spinor {
namespace {

// Calls visit(first row, rows) for a stored matrix, a block of rows at a time.
template <typename Visit>
void for_rows(const Checkpoint& checkpoint, const CheckpointTensor& tensor, Visit visit) {
  const WeightReader reader(checkpoint, tensor);
  const int64_t n = tensor.info.cols(), step = std::max<int64_t>(1, (1 << 18) / n);
  std::vector<std::byte> bytes;
  Matrix<double> rows;
  for (int64_t first = 0; first < tensor.info.rows(); first += step) {
    const Block block{first, 0, std::min(step, tensor.info.rows() - first), n};
    rows = Matrix<double>(block.rows, n);
    reader.read(block, bytes);
    reader.load(block, bytes, block, rows.view());
    visit(first, rows);
  }
}

std::vector<int64_t> read_permutation(const Checkpoint& checkpoint, const std::string& name) {
  const CheckpointTensor* tensor = checkpoint.find(name);
  if (!tensor) return {};
  if (tensor->info.dtype != DType::I64) throw Error(name, "is not I64, as permutations are");
  std::vector<int64_t> permutation(static_cast<size_t>(tensor->info.elements()));
  const std::vector<std::byte> bytes = checkpoint.read(*tensor);
  std::memcpy(permutation.data(), bytes.data(), bytes.size());
  return permutation;
}

// M[i][j] = signs[i] H[j][i]: the first column says which signs, every other entry must agree.
Rotation read_hadamard(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const Hadamard& h,
                       std::vector<int64_t> permutation) {
  std::vector<int8_t> signs(static_cast<size_t>(h.order()));
  for_rows(checkpoint, tensor, [&](int64_t first, const Matrix<double>& rows) {
    for (int64_t r = 0; r < rows.rows; ++r) {
      const int64_t i = first + r;
      int8_t& sign = signs[static_cast<size_t>(i)];
      sign = rows(r, 0) * h.sign(0, i) > 0 ? 1 : -1;
      for (int64_t j = 0; j < rows.cols; ++j)
        if (rows(r, j) != sign * h.sign(j, i))
          throw Error(tensor.info.name, fmt::format("is not a Hadamard matrix with signs: row {}, column {}", i, j));
    }
  });
  return Rotation::hadamard(h, std::move(signs), std::move(permutation));
}

Rotation read_dense(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  Matrix<double> m(tensor.info.rows(), tensor.info.cols());
  for_rows(checkpoint, tensor, [&](int64_t first, const Matrix<double>& rows) {
    std::copy(rows.data.begin(), rows.data.end(), m.data.begin() + first * m.cols);
  });
  return Rotation::dense(std::move(m), false);
}

// The transforms of one group, each read when it is first needed.
class StoredGroup {
 public:
  StoredGroup(const Model& model, const std::string& name, const TransformScheme& scheme)
      : model_(model),
        stored_(model.quantized_source()->stored),
        name_(name),
        scheme_(scheme),
        type_(find_transform_type(scheme.type).name) {}

  void add(const TransformArgs& args, RewritePlan& plan) {
    for (const Module* module : match_modules(model_, args.targets, args.ignore)) {
      read(*module, args.location, args.inverse);
      const Rotation* r = find(size_of(*module, args.location), args.inverse);
      if (!r)
        throw Error(module->name,
                    fmt::format("{}: the checkpoint has no matrix for its {}", name_, name_of(args.location)),
                    "convert it again: its transforms are incomplete");
      plan.add_online({module->name, name_, args.location, args.inverse && is_hadamard() ? r->transposed() : *r});
    }
  }

 private:
  bool is_hadamard() const { return type_ == "hadamard" || type_ == "random-hadamard"; }

  // A matrix stands under the first module that uses it. Of a type that is not orthogonal both it and its inverse do.
  void read(const Module& module, TransformLocation location, bool inverse) {
    const std::string name = fmt::format("{}.{}_{}", module.name, name_, name_of(location));
    const CheckpointTensor* tensor = stored_.find(name + ".weight");
    if (!tensor) return;
    const int64_t n = tensor->info.rows();
    if (tensor->info.shape.size() != 2 || n != tensor->info.cols())
      throw Error(tensor->info.name, "is not a square matrix, as transforms are");
    const auto key = std::pair(n, inverse && !is_hadamard());
    if (by_size_.contains(key)) return;
    by_size_.emplace(
        key, is_hadamard()
                 ? read_hadamard(stored_, *tensor, type_ == "hadamard" ? Hadamard::sylvester(n) : Hadamard::of_order(n),
                                 read_permutation(stored_, name + ".perm"))
                 : read_dense(stored_, *tensor));
  }

  const Rotation* find(int64_t size, bool inverse) const {
    const auto found = by_size_.find({size, inverse && !is_hadamard()});
    return found == by_size_.end() ? nullptr : &found->second;
  }

  int64_t size_of(const Module& module, TransformLocation location) const {
    if (scheme_.head_dim) return *scheme_.head_dim;
    if (!module.weight) return model_.head_dim();
    const bool input = location == TransformLocation::input;
    return input == (module.kind == ModuleKind::linear) ? module.shape.in : module.shape.out;
  }

  const Model& model_;
  const Checkpoint& stored_;
  std::string name_;
  const TransformScheme& scheme_;
  std::string type_;
  std::map<std::pair<int64_t, bool>, Rotation> by_size_;  // and whether it is the inverse of what another arg has
};

}  // namespace

RewritePlan as_stored(const Model& model) {
  RewritePlan plan(model, RewritePlan::WithoutOnline());
  const QuantizedSource* source = model.quantized_source();
  if (!source || !source->transform_config.is_object() || source->transform_config.empty()) return plan;
  const std::string subject = (source->stored.directory() / "config.json").string();
  const TransformConfig config = transform_config_from_json(source->transform_config, subject);
  for (const auto& [name, scheme] : config.config_groups) {
    StoredGroup group(model, name, scheme);
    for (const TransformArgs& args : scheme.apply)
      if (is_online(args.location)) group.add(args, plan);
  }
  return plan;
}

RewritePlan start_plan(const Model& model) {
  RewritePlan plan = as_stored(model);
  fold_online(plan);
  plan.mark_restoring();
  return plan;
}

}  // namespace spinor
