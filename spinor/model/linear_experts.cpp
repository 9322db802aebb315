#include "spinor/model/linear_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <ranges>
#include <string_view>
#include <utility>

#include "spinor/base/error.h"
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
  for (std::vector<std::string>* names : {&row.mlp_in, &row.mlp_out, &row.writes, &row.raw_reads})
    replace(*names, name, by);
  for (NormRow& norm : row.norms) replace(norm.reads, name, by);
  for (std::vector<std::string>& kind : row.layer_kinds) replace(kind, name, by);
  std::vector<AttentionRow*> attentions = {&row.attention};
  for (AttentionRow& other : row.other_attentions) attentions.push_back(&other);
  for (AttentionRow* attention : attentions)  // whose experts are one linear each
    for (std::string* linear : {&attention->query, &attention->key, &attention->value, &attention->output})
      if (*linear == name) *linear = by.front();
}

std::string divided(const std::string& size, size_t by) {
  return by == 1 || size == kAny ? size : fmt::format("({}) / {}", size, by);
}

// The linears of an expert in the order of llm-compressor's ExpertMLPWithGate: up, gate, down.
Architecture linear_row(Architecture row) {
  const std::vector<LinearRow> linears = std::exchange(row.linears, {});
  for (const LinearRow& linear : linears) {
    for (const std::string& name : linear.split | std::views::reverse) {
      const std::string out = divided(linear.out, linear.split.size());
      row.linears.push_back({name, out, linear.in, linear.bias, linear.when, Layout::matrix, false, linear.count});
    }
    if (linear.split.empty())
      row.linears.push_back(linear);
    else
      replace_everywhere(row, linear.name, linear.split);
  }
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
  std::string linear;  // "mlp.experts.{E}.gate_proj"
  int64_t first = 0, step = 1, count = 0;
};

// Of a stack; null: it has none, being no module of the row's.
const LinearRow* row_of_stack(const Model& model, const Module& stack) {
  if (!model.architecture() || stack.layer < 0 || !is_stack(stack)) return nullptr;
  const std::string prefix = model.layer_prefix(stack.layer);
  const std::vector<LinearRow>& linears = model.architecture()->linears;
  const auto found = std::ranges::find_if(
      linears, [&](const LinearRow& row) { return name_in_layer(prefix, row.name) == stack.name; });
  return found == linears.end() ? nullptr : &*found;
}

std::vector<Rows> rows_of(const Module& stack, const LinearRow& row) {
  const int64_t linears = std::ssize(row.split), each = stack.shape.out / linears;
  if (stack.shape.out % linears != 0)
    throw Error(stack.name,
                fmt::format("has {} outputs, which are not those of {} linears of one size", stack.shape.out, linears));
  std::vector<Rows> rows;
  for (const std::string& name : row.split) {
    const int64_t i = std::ssize(rows);
    rows.push_back({name, row.alternating ? i : i * each, row.alternating ? linears : 1, each});
  }
  return rows;
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
  std::vector<CheckpointTensor> tensors;
  for (const CheckpointTensor& tensor : model.checkpoint().tensors()) {
    const Module* stack = model.owner(tensor.info.name);
    if (!stack || !can_be_split(model, *stack)) {
      tensors.push_back(tensor);
      continue;
    }
    const bool is_bias = &tensor == stack->bias;
    const std::vector<Rows> all = rows_of(*stack, *row_of_stack(model, *stack));
    for (int64_t e = 0; e < stack->shape.count; ++e)
      for (const Rows& rows : all) {
        CheckpointTensor& one = tensors.emplace_back(is_bias ? bias_of(*stack, e, rows) : weight_of(*stack, e, rows));
        const std::string name = name_in_layer(model.layer_prefix(stack->layer), numbered(rows.linear, e));
        one.info.name = name + (is_bias ? ".bias" : ".weight");
      }
  }
  return tensors;
}

bool has_split(const Architecture& row) {
  return std::ranges::any_of(row.linears, [](const LinearRow& linear) { return !linear.split.empty(); });
}

}  // namespace

const Architecture& row_of_files(const Architecture& row, const Checkpoint& checkpoint) {
  const std::string layers = root_of(row, checkpoint) + row.layers + ".";
  const auto is_there = [&](const LinearRow& linear) {
    if (linear.split.empty()) return false;
    const std::string first = "." + numbered(linear.split.front(), 0) + ".weight";
    return std::ranges::any_of(checkpoint.tensors(), [&](const CheckpointTensor& tensor) {
      return tensor.info.name.starts_with(layers) && tensor.info.name.ends_with(first);
    });
  };
  return std::ranges::any_of(row.linears, is_there) ? linear_row_of(row) : row;
}

bool has_linear_experts(const Model& model) {
  return model.architecture() && model.architecture() != find_architecture(model.architecture_name());
}

bool is_stack(const Module& module) {
  return module.classes.front() == "Experts";
}

bool can_be_split(const Model& model, const Module& stack) {
  const LinearRow* row = row_of_stack(model, stack);
  return row && !row->split.empty();
}

std::vector<std::string> split_names(const Model& model, const Module& stack, int64_t expert) {
  std::vector<std::string> names;
  for (const std::string& name : row_of_stack(model, stack)->split)
    names.push_back(name_in_layer(model.layer_prefix(stack.layer), numbered(name, expert)));
  return names;
}

const Module& stack_of(const Module& linear, const Model& model) {
  const std::string prefix = model.layer_prefix(linear.layer);
  return *std::ranges::find_if(model.modules(), [&](const Module& module) {
    if (module.layer != linear.layer || !can_be_split(model, module)) return false;
    const std::vector<std::string>& split = row_of_stack(model, module)->split;
    return std::ranges::any_of(split, [&](const std::string& name) {
      return number_in(linear.name, name_in_layer(prefix, name)).has_value();
    });
  });
}

std::optional<Model> with_linear_experts(const Model& model) {
  if (!model.architecture() || !has_split(*model.architecture())) return std::nullopt;
  const QuantizedSource* source = model.quantized_source();
  if (source && source->method != "mxfp4") return std::nullopt;
  return Model::describe(model.checkpoint().with(model.checkpoint().config(), tensors_of(model)));
}

}  // namespace spinor
