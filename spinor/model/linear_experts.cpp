#include "spinor/model/linear_experts.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "spinor/base/list.h"
#include "spinor/model/encoded_weight.h"
#include "spinor/model/module_name.h"
#include "spinor/model/modules.h"
#include "spinor/model/quantized_source.h"

namespace spinor {
namespace {

// Linears in place of those that the row calls `name`.
void replace(std::vector<std::string>& names, const std::string& name, const std::vector<std::string>& by) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return;
  names.insert(names.erase(found), by.begin(), by.end());
}

void replace_everywhere(Architecture& row, const std::string& name, const std::vector<std::string>& by) {
  for (std::vector<std::string>* names : {&row.mlp_in, &row.mlp_out, &row.writes}) replace(*names, name, by);
  for (NormRow& norm : row.norms) replace(norm.reads, name, by);
  for (std::vector<std::string>& kind : row.layer_kinds) replace(kind, name, by);
}

// The linears of an expert in the order of llm-compressor's ExpertMLPWithGate: up, gate, down.
Architecture linear_row(Architecture row) {
  const std::string expert = row.forward->linear_experts;
  const std::vector<LinearRow> linears = std::exchange(row.linears, {});
  std::string width;
  for (const LinearRow& linear : linears)
    if (is_stacked(linear) && contains(row.mlp_out, linear.name)) width = linear.in;
  for (const LinearRow& linear : linears) {
    if (!is_stacked(linear)) {
      row.linears.push_back(linear);
    } else if (contains(row.mlp_out, linear.name)) {
      row.linears.push_back({expert + "down_proj", linear.out, linear.in, linear.bias, linear.when});
      replace_everywhere(row, linear.name, {expert + "down_proj"});
    } else {
      for (const char* name : {"up_proj", "gate_proj"})
        row.linears.push_back({expert + name, width, linear.in, linear.bias, linear.when});
      replace_everywhere(row, linear.name, {expert + "gate_proj", expert + "up_proj"});
    }
  }
  row.forward->linear_experts.clear();
  row.forward->alternating = false;
  return row;
}

// Made once for each row, which all live as long as the program.
const Architecture& linear_row_of(const Architecture& row) {
  static std::mutex mutex;
  static std::map<const Architecture*, const Architecture> made;
  const std::lock_guard lock(mutex);
  const auto found = made.find(&row);
  return found != made.end() ? found->second : made.emplace(&row, linear_row(row)).first->second;
}

// The e-th of `count` equal pieces, which follow each other in the file.
CheckpointTensor piece(CheckpointTensor tensor, int64_t e, int64_t count) {
  const int64_t bytes = tensor.info.bytes() / count;
  tensor.info.begin += e * bytes;
  tensor.info.end = tensor.info.begin + bytes;
  if (tensor.info.shape.size() > 1 && tensor.info.shape.front() == count)
    tensor.info.shape.erase(tensor.info.shape.begin());
  else
    tensor.info.shape.front() /= count;
  return tensor;
}

WeightLayout of_numbers(int64_t rows, int64_t cols) {
  WeightLayout layout;
  layout.rows = rows;
  layout.cols = cols;
  return layout;
}

// Which rows of an expert's W a linear has.
struct Rows {
  std::string linear;  // "gate_proj"
  int64_t first = 0, step = 1, count = 0;
};

std::vector<Rows> rows_of(const Module& stack, bool alternating) {
  if (stack.role == Role::mlp_out) return {{"down_proj", 0, 1, stack.shape.out}};
  const int64_t half = stack.shape.out / 2;
  const int64_t second = alternating ? 1 : half, step = alternating ? 2 : 1;
  return {{"gate_proj", 0, step, half}, {"up_proj", second, step, half}};
}

// W (out, in) of one expert, or the rows of it that a linear has.
CheckpointTensor weight_of(const Module& stack, int64_t e, const Rows& rows) {
  const WeightShape& shape = stack.shape;
  EncodedWeight encoded;
  if (const EncodedWeight* whole = encoded_of(*stack.weight)) {  // its matrices are encoded as W
    encoded = *whole;
    encoded.layout.rows /= shape.count;
    encoded.transposed = 0;
    for (CheckpointTensor& part : encoded.parts) part = piece(part, e, shape.count);
  } else {
    encoded.layout = shape.transposed ? of_numbers(shape.in, shape.out) : of_numbers(shape.out, shape.in);
    encoded.transposed = shape.transposed ? 1 : 0;
    encoded.parts = {piece(*stack.weight, e, shape.count)};
  }
  encoded.first = rows.first;
  encoded.step = rows.step;
  CheckpointTensor weight = encoded.parts.front();
  weight.info.dtype = stack.weight->info.dtype;
  weight.info.shape = {rows.count, shape.in};
  weight.form = std::make_shared<const EncodedWeight>(std::move(encoded));
  return weight;
}

// Where the linear's outputs alternate with another's, they are a column of its bias as (outputs, 2).
CheckpointTensor bias_of(const Module& stack, int64_t e, const Rows& rows) {
  CheckpointTensor bias = piece(*stack.bias, e, stack.shape.count);
  if (rows.step == 1) return piece(std::move(bias), rows.first / rows.count, stack.shape.out / rows.count);
  EncodedWeight encoded;
  encoded.layout = of_numbers(rows.count, rows.step);
  encoded.parts = {bias};
  encoded.transposed = 1;
  encoded.first = rows.first;
  bias.info.shape = {rows.count};
  bias.form = std::make_shared<const EncodedWeight>(std::move(encoded));
  return bias;
}

std::vector<CheckpointTensor> tensors_of(const Model& model) {
  const ForwardRow& forward = *model.architecture()->forward;
  std::vector<CheckpointTensor> tensors;
  for (const CheckpointTensor& tensor : model.checkpoint().tensors()) {
    const Module* stack = model.owner(tensor.info.name);
    if (!stack || stack->classes.front() != "Experts") {
      tensors.push_back(tensor);
      continue;
    }
    const bool is_bias = &tensor == stack->bias;
    for (int64_t e = 0; e < stack->shape.count; ++e)
      for (const Rows& rows : rows_of(*stack, forward.alternating)) {
        CheckpointTensor& one = tensors.emplace_back(is_bias ? bias_of(*stack, e, rows) : weight_of(*stack, e, rows));
        one.info.name = model.layer_prefix(stack->layer) + numbered(forward.linear_experts, e) + rows.linear +
                        (is_bias ? ".bias" : ".weight");
      }
  }
  return tensors;
}

}  // namespace

const Architecture& row_of_files(const Architecture& row, const Checkpoint& checkpoint) {
  if (!row.forward || row.forward->linear_experts.empty()) return row;
  const std::string first = root_of(row, checkpoint) + row.layers + ".0." + numbered(row.forward->linear_experts, 0);
  return checkpoint.find(first + "down_proj.weight") ? linear_row_of(row) : row;
}

bool has_linear_experts(const Model& model) {
  return model.architecture() && model.architecture() != find_architecture(model.architecture_name());
}

std::optional<Model> with_linear_experts(const Model& model) {
  const Architecture* row = model.architecture();
  if (!row || !row->forward || row->forward->linear_experts.empty()) return std::nullopt;
  const QuantizedSource* source = model.quantized_source();
  if (source && source->method != "mxfp4") return std::nullopt;
  return Model::describe(model.checkpoint().with(model.checkpoint().config(), tensors_of(model)));
}

}  // namespace spinor
