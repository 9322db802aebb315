#include "spinor/runtime/sample.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "spinor/base/error.h"

namespace spinor::runtime {
namespace {

// Tokens by falling probability, cut to top_k and top_p, with what each weighs.
struct Candidates {
  std::vector<int32_t> tokens;
  std::vector<double> weights;
};

Candidates candidates(const std::vector<double>& logits, const GenerateOptions& options) {
  Candidates result;
  result.tokens.resize(logits.size());
  std::iota(result.tokens.begin(), result.tokens.end(), 0);
  const auto more_likely = [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  };
  const auto kept = options.top_k > 0 ? std::min(static_cast<size_t>(options.top_k), logits.size()) : logits.size();
  std::partial_sort(result.tokens.begin(), result.tokens.begin() + static_cast<std::ptrdiff_t>(kept),
                    result.tokens.end(), more_likely);
  result.tokens.resize(kept);
  const double largest = logits[static_cast<size_t>(result.tokens.front())];
  for (const int32_t token : result.tokens)
    result.weights.push_back(std::exp((logits[static_cast<size_t>(token)] - largest) / options.temperature));
  const double all = std::accumulate(result.weights.begin(), result.weights.end(), 0.0);
  size_t count = 0;
  for (double sum = 0; count < kept && sum < options.top_p * all; ++count) sum += result.weights[count];
  result.tokens.resize(std::max<size_t>(1, count));
  result.weights.resize(result.tokens.size());
  return result;
}

}  // namespace

int32_t sample(const at::Tensor& logits, const GenerateOptions& options, std::mt19937_64& random) {
  if (options.temperature == 0) return static_cast<int32_t>(logits.argmax().item<int64_t>());
  const at::Tensor wide = logits.to(at::kCPU, at::kDouble).contiguous();
  const double* values = wide.data_ptr<double>();
  const Candidates from = candidates({values, values + wide.numel()}, options);
  // Not std::discrete_distribution: its draws differ between standard libraries.
  double left = std::ldexp(static_cast<double>(random() >> 11), -53) *
                std::accumulate(from.weights.begin(), from.weights.end(), 0.0);
  for (size_t i = 0; i < from.tokens.size(); ++i)
    if ((left -= from.weights[i]) < 0) return from.tokens[i];
  return from.tokens.back();
}

void check_sampling(const GenerateOptions& options) {
  if (!(options.temperature >= 0) || !(options.top_p > 0) || options.top_k < 0 || options.max_new_tokens < 0)
    throw Error("sampling", "needs temperature >= 0, top_p > 0 and top_k >= 0");
}

}  // namespace spinor::runtime
