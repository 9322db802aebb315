#include "spinor/runtime/scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "spinor/runtime/norm.h"

namespace spinor::runtime {
namespace {

constexpr int64_t kScores = 1 << 24;  // at once

// (queries, keys): which key each query sees, the first query being at position `first`.
at::Tensor seen(int64_t first, int64_t queries, int64_t keys, int64_t window, const at::Device& device) {
  const at::Tensor key = at::arange(keys, device), query = at::arange(first, first + queries, device).unsqueeze(1);
  const at::Tensor before = key <= query;
  return window > 0 && window < keys ? at::logical_and(before, key > query - window) : before;
}

// Undefined where plain causal attention does.
at::Tensor mask_of(const at::Tensor& query, const at::Tensor& key, int64_t window) {
  const int64_t queries = query.size(1), keys = key.size(1);
  const bool windowed = window > 0 && window < keys;
  if (!windowed && (queries == 1 || queries == keys)) return {};
  return seen(keys - queries, queries, keys, window, query.device());
}

at::Tensor attend_plainly(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          const Scoring& scoring) {
  const at::Tensor mask = mask_of(query, key, scoring.window);
  return at::scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2),
                                          mask.defined() ? std::optional(mask) : std::nullopt, 0.0,
                                          /*is_causal=*/!mask.defined() && query.size(1) > 1, scoring.scale,
                                          /*enable_gqa=*/query.size(2) != key.size(2));
}

// ALiBi (arXiv 2108.12409): powers of 2^(-8/heads), and between them every second one of twice as many heads.
at::Tensor slopes(int64_t heads) {
  const auto whole = static_cast<int64_t>(std::pow(2, std::floor(std::log2(static_cast<double>(heads)))));
  const double base = std::pow(2, -8 / static_cast<double>(whole)), between = std::sqrt(base);
  std::vector<double> all;
  for (int64_t i = 0; i < heads; ++i)
    all.push_back(i < whole ? std::pow(base, i + 1) : std::pow(between, 2 * (i - whole) + 1));
  return at::tensor(all, at::kDouble);
}

// What alibi adds to the scores for each key, (heads, 1, keys): as the models were trained, in bfloat16. A row of
// scores may have any constant added.
at::Tensor alibi(int64_t heads, const at::Tensor& key) {
  const at::Tensor each = slopes(heads).to(at::kFloat).to(at::kBFloat16).unsqueeze(1);
  return (each * at::arange(key.size(1))).unsqueeze(1).to(widened(key).options());
}

// Of some queries, (sequences, heads, queries, size), with all keys, transposed.
at::Tensor weights(const at::Tensor& query, const at::Tensor& key, const at::Tensor& bias, const at::Tensor& mask,
                   const Scoring& scoring) {
  at::Tensor scores = widened(query.matmul(key));
  if (bias.defined()) scores.add_(bias);
  scores.mul_(scoring.scale);
  if (scoring.cap) scores = scores.div_(*scoring.cap).tanh_() * *scoring.cap;  // the gradient is of the tanh
  scores.masked_fill_(at::logical_not(mask), -std::numeric_limits<double>::infinity());
  if (!scoring.sinks.defined()) return scores.softmax(-1);
  const at::Tensor sink =
      scoring.sinks.to(scores.scalar_type()).reshape({1, -1, 1, 1}).expand({scores.size(0), -1, scores.size(2), 1});
  return at::cat({scores, sink}, -1).softmax(-1).narrow(-1, 0, scores.size(-1));
}

at::Tensor attend_in_parts(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const Scoring& scoring) {
  const int64_t queries = query.size(1), keys = key.size(1), heads = query.size(2), shared = heads / key.size(2);
  const at::Tensor q = query.transpose(1, 2), k = key.permute({0, 2, 3, 1}).repeat_interleave(shared, 1),
                   v = value.transpose(1, 2).repeat_interleave(shared, 1);
  const at::Tensor bias = scoring.alibi ? alibi(heads, key) : at::Tensor();
  const int64_t step = std::max<int64_t>(1, kScores / (query.size(0) * heads * keys));
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < queries; first += step) {
    const int64_t count = std::min(step, queries - first);
    const at::Tensor mask = seen(keys - queries + first, count, keys, scoring.window, query.device());
    parts.push_back(weights(q.narrow(2, first, count), k, bias, mask, scoring).to(v.scalar_type()).matmul(v));
  }
  return at::cat(parts, 2);
}

}  // namespace

at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Scoring& scoring) {
  const bool plain = !scoring.cap && !scoring.sinks.defined() && !scoring.alibi;
  const at::Tensor mixed =
      plain ? attend_plainly(query, key, value, scoring) : attend_in_parts(query, key, value, scoring);
  return mixed.transpose(1, 2).reshape({query.size(0), query.size(1), -1}).contiguous();
}

}  // namespace spinor::runtime
