#include "spinor/runtime/experts.h"

#include <ATen/ATen.h>

#include <limits>

#include "spinor/runtime/norm.h"

namespace spinor::runtime {
namespace {

constexpr double kSmallestSum = 1e-20;  // what DeepSeek adds to a sum before it divides by it

}  // namespace

at::Tensor Router::among_best_groups(const at::Tensor& scores) const {
  if (config.groups == 1) return scores;
  const at::Tensor groups = scores.reshape({scores.size(0), config.groups, -1});
  const at::Tensor worth = best_two ? std::get<0>(groups.topk(2)).sum(-1) : groups.amax(-1);
  const at::Tensor best = std::get<1>(worth.topk(config.chosen_groups));
  const at::Tensor kept = at::zeros_like(worth, at::kBool).scatter(1, best, true);
  return groups.masked_fill(at::logical_not(kept).unsqueeze(-1), -std::numeric_limits<double>::infinity())
      .reshape(scores.sizes());
}

Router::Choice Router::operator()(const at::Tensor& x) const {
  LinearInput input(widened(x));
  const at::Tensor logits = linear(input);
  if (routing == Routing::softmax_top) {
    const auto [best, experts] = logits.topk(config.chosen);
    return {experts, best.softmax(-1)};
  }
  const at::Tensor scores = routing == Routing::sigmoid ? logits.sigmoid() : logits.softmax(-1);
  const at::Tensor experts =
      std::get<1>(among_best_groups(correction.defined() ? scores + correction : scores).topk(config.chosen));
  at::Tensor weights = scores.gather(1, experts);
  if (config.normalized) weights = weights / weights.sum(-1, true).add_(kSmallestSum);
  return {experts, weights.mul_(config.scale)};
}

at::Tensor FeedForward::routed(const at::Tensor& x) const {
  const Router::Choice choice = (*router)(x);
  if (choices) choices->push_back(choice.experts);
  const int64_t chosen = choice.experts.size(1);
  const at::Tensor order = choice.experts.flatten().argsort();
  const at::Tensor counts = at::bincount(choice.experts.flatten(), {}, std::ssize(experts)).to(at::kCPU);
  const at::Tensor tokens = order.div(chosen, "floor"), weights = choice.weights.flatten().index_select(0, order);
  const LayerWatcher* watcher = experts.front().in.watcher;
  const bool everyone = watcher && watcher->wants_all_tokens();
  at::Tensor sum = at::zeros_like(x);
  int64_t first = 0;
  for (size_t i = 0; i < experts.size(); ++i) {
    const int64_t count = counts[static_cast<int64_t>(i)].item<int64_t>();
    if (count == 0 && !everyone) continue;
    const at::Tensor mine = tokens.narrow(0, first, count);
    LinearInput input(everyone ? x : x.index_select(0, mine), !everyone && experts[i].reads_alike());
    at::Tensor y = experts[i](input, activation);
    if (everyone) y = y.index_select(0, mine);
    const at::Tensor weight = weights.narrow(0, first, count).unsqueeze(1);
    sum.index_add_(0, mine, (y * weight).to(sum.scalar_type()));
    first += count;
  }
  return sum;
}

at::Tensor FeedForward::operator()(const at::Tensor& x) const {
  at::Tensor sum;
  if (common) {
    LinearInput input(x);
    sum = (*common)(input, activation);
    LinearInput wide(widened(x));
    if (common_gate) sum.mul_((*common_gate)(wide).sigmoid_());
  }
  if (!router) return sum;
  at::Tensor mixed = routed(x.reshape({-1, x.size(-1)})).reshape(x.sizes());
  return sum.defined() ? mixed.add_(sum) : mixed;
}

}  // namespace spinor::runtime
