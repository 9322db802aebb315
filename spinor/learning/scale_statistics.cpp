#include "spinor/learning/scale_statistics.h"

#include <ATen/ATen.h>

#include <span>
#include <utility>

#include "spinor/base/list.h"
#include "spinor/learning/token_weights.h"
#include "spinor/transform/scale_formulas.h"

namespace spinor::learning {
namespace {

std::vector<double> to_vector(const at::Tensor& values) {
  const at::Tensor all = values.to(at::kCPU, at::kDouble).contiguous();
  return {all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel()};
}

std::span<const double> part_of(const std::vector<double>& rows, const LinearPart& linear) {
  if (!linear.part) return rows;
  return std::span(rows).subspan(static_cast<size_t>(linear.part->begin), static_cast<size_t>(linear.size));
}

}  // namespace

void ScaleStatistics::Sum::add(const at::Tensor& rows, const at::Tensor& weights) {
  const at::Tensor sum = rows.square().mul_(weights.unsqueeze(1)).sum(0, false, at::kDouble);
  squares = squares.defined() ? squares.add_(sum) : sum;
  weight += weights.sum().item<double>();
}

std::vector<double> ScaleStatistics::Sum::rms() const {
  return to_vector((squares / weight).sqrt());
}

ScaleStatistics::ScaleStatistics(std::vector<LegalScale> scales) {
  for (LegalScale& scale : scales) {
    if (scale.kind == ScaleKind::k) {
      turned_.insert(scale.writer.linear->name);
      turned_.insert(scale.readers.front().linear->name);
    } else {
      readers_[scale.readers.front().linear->name] = scale.kind;
    }
    scales_.push_back(std::move(scale));
  }
}

void ScaleStatistics::add(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y, int64_t context) {
  if (const auto reader = readers_.find(linear.name); reader != readers_.end()) {
    const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(at::kFloat);
    const bool alike = reader->second == ScaleKind::m;
    const at::Tensor weights = alike ? token_weights(rows, context) : at::ones({rows.size(0)}, rows.options());
    Input& input = inputs_[{linear.name, linear.number}];
    input.sum.add(rows, weights);
    if (input.columns.empty()) input.columns = to_vector(linear.weight.to(at::kFloat).square().mean(0).sqrt_());
  }
  if (turned_.contains(linear.name)) {
    const at::Tensor rows = y.reshape({-1, y.size(-1)}).to(at::kFloat);
    outputs_[linear.name].add(rows, at::ones({rows.size(0)}, rows.options()));
  }
}

const ScaleStatistics::Input* ScaleStatistics::find(const LegalScale& scale, int64_t number) const {
  const auto found = inputs_.find({scale.readers.front().linear->name, number});
  return found == inputs_.end() ? nullptr : &found->second;
}

void ScaleStatistics::add_stack(const LegalScale& scale, std::map<std::string, std::vector<double>>& all) const {
  const auto rows = static_cast<size_t>(scale.writer.size / scale.stack);
  std::vector<double> together;
  bool any = false;
  for (int64_t e = 0; e < scale.stack; ++e) {
    const Input* input = find(scale, e);
    any |= input != nullptr;
    const std::vector<double> factors =
        input ? mlp_scale(input->columns, input->sum.rms()) : std::vector<double>(rows, 1.0);
    if (input && !scale.experts.empty()) all[scale.experts[static_cast<size_t>(e)]] = factors;
    append(together, factors);
  }
  if (any && scale.experts.empty()) all[scale.name] = std::move(together);
}

std::map<std::string, std::vector<double>> ScaleStatistics::factors() const {
  std::map<std::string, std::vector<double>> all;
  for (const LegalScale& scale : scales_) {
    const LinearPart& reader = scale.readers.front();
    if (scale.kind == ScaleKind::k) {
      const std::vector<double> queries = outputs_.at(reader.linear->name).rms(),
                                keys = outputs_.at(scale.writer.linear->name).rms();
      all[scale.name] = key_scale(scale, part_of(queries, reader), part_of(keys, scale.writer));
    } else if (scale.stack > 1) {
      add_stack(scale, all);
    } else if (const Input* input = find(scale, 0)) {
      const std::vector<double> rms = input->sum.rms();
      all[scale.name] =
          scale.kind == ScaleKind::m ? mlp_scale(input->columns, rms) : value_scale(scale, input->columns, rms);
    }
  }
  return all;
}

}  // namespace spinor::learning
