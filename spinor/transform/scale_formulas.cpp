#include "spinor/transform/scale_formulas.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "spinor/base/error.h"

namespace spinor {
namespace {

constexpr double kLeastInput = 0.01;  // of the mean

void require_channels(const std::string& name, std::span<const double> x, int64_t channels) {
  if (std::ssize(x) != channels)
    throw Error(name, fmt::format("has {} channels, and {} were measured", channels, x.size()));
}

// 0: there is nothing to balance.
double balance(double outer, double inner) {
  const double factor = std::sqrt(outer / inner);
  return std::isfinite(factor) ? factor : 0;
}

// Sums of squares of all that meets a channel of the scale, and of its pair.
std::vector<double> gathered(const LegalScale& scale, const LinearPart& side, std::span<const double> rms) {
  std::vector<double> squares(static_cast<size_t>(scale.writer.size));
  for (int64_t i = 0; i < side.size; ++i) {
    const double one = rms[static_cast<size_t>(i)] * rms[static_cast<size_t>(i)];
    squares[static_cast<size_t>(scale.entry_read(side, i))] += one;
  }
  std::vector<double> both = squares;
  for (int64_t i = 0; i < scale.writer.size; ++i)
    if (const int64_t other = scale.partner(i); other != i)
      both[static_cast<size_t>(i)] =
          squares[static_cast<size_t>(std::min(i, other))] + squares[static_cast<size_t>(std::max(i, other))];
  return both;
}

std::vector<double> balanced(const std::vector<double>& outer, const std::vector<double>& inner) {
  std::vector<double> factors;
  for (size_t i = 0; i < outer.size(); ++i) {
    const double factor = balance(std::sqrt(outer[i]), std::sqrt(inner[i]));
    factors.push_back(factor > 0 ? factor : 1);
  }
  return factors;
}

// Of a mean instead of a sum over the query heads of one key-value head.
std::vector<double> mean_over_repeats(const LegalScale& scale, const LinearPart& reader, std::vector<double> sums) {
  for (double& sum : sums) sum *= static_cast<double>(scale.writer.size) / static_cast<double>(reader.size);
  return sums;
}

}  // namespace

std::vector<double> mlp_scale(std::span<const double> columns, std::span<const double> inputs) {
  require_channels("scale m", inputs, std::ssize(columns));
  const auto count = static_cast<double>(inputs.size());
  const double least = kLeastInput * std::accumulate(inputs.begin(), inputs.end(), 0.0) / count;
  std::vector<double> factors;
  double logs = 0, positive = 0;
  for (size_t j = 0; j < columns.size(); ++j) {
    factors.push_back(balance(columns[j], std::max(inputs[j], least)));
    if (factors[j] <= 0) continue;
    logs += std::log(factors[j]);
    ++positive;
  }
  const double mean = positive > 0 ? std::exp(logs / positive) : 1;
  for (double& factor : factors) factor = factor > 0 ? factor / mean : 1;
  return factors;
}

std::vector<double> key_scale(const LegalScale& scale, std::span<const double> queries, std::span<const double> keys) {
  const LinearPart& reader = scale.readers.front();
  require_channels(scale.name, queries, reader.size);
  require_channels(scale.name, keys, scale.writer.size);
  return balanced(mean_over_repeats(scale, reader, gathered(scale, reader, queries)),
                  gathered(scale, scale.writer, keys));
}

std::vector<double> value_scale(const LegalScale& scale, std::span<const double> columns,
                                std::span<const double> inputs) {
  const LinearPart& reader = scale.readers.front();
  require_channels(scale.name, columns, reader.size);
  require_channels(scale.name, inputs, reader.size);
  return balanced(gathered(scale, reader, columns), gathered(scale, reader, inputs));
}

}  // namespace spinor
