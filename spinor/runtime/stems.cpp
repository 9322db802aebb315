#include "spinor/runtime/stems.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace spinor::runtime {
namespace {

constexpr int64_t kBatchTokens = 1024;

// Rows of one length; the short ones with their last token repeated.
at::Tensor stacked(std::span<const TokenRow* const> rows) {
  size_t length = 0;
  for (const TokenRow* row : rows) length = std::max(length, row->size());
  std::vector<at::Tensor> tensors;
  for (const TokenRow* row : rows) {
    TokenRow tokens = *row;
    tokens.resize(length, row->back());
    tensors.push_back(at::tensor(tokens, at::kLong));
  }
  return at::stack(tensors);
}

TokenRow input_of(const Request& request, int64_t window) {
  TokenRow tokens(request.context.begin(), request.context.end());
  tokens.insert(tokens.end(), request.continuation.begin(), request.continuation.end() - 1);
  if (window > 0 && std::ssize(tokens) > window) tokens.erase(tokens.begin(), tokens.end() - window);
  return tokens;
}

bool share_a_stem(std::span<const size_t> alike, std::span<const Request> requests, int64_t window) {
  const auto begins_long = [&](size_t i) {
    const auto context = std::ssize(requests[i].context), rest = std::ssize(requests[i].continuation) - 1;
    return rest <= context && (window == 0 || context + rest <= window);
  };
  return alike.size() > 1 && std::ranges::all_of(alike, begins_long);
}

}  // namespace

Stems stems_of(std::span<const Request> requests, int64_t window, bool can_continue) {
  std::map<std::vector<int32_t>, std::vector<size_t>> by_context;
  for (size_t i = 0; i < requests.size(); ++i)
    if (!requests[i].continuation.empty()) by_context[requests[i].context].push_back(i);
  Stems stems;
  for (const auto& [context, alike] : by_context) {
    const bool shared = can_continue && share_a_stem(alike, requests, window);
    for (const size_t i : alike) {
      const std::vector<int32_t>& next = requests[i].continuation;
      if (shared)
        stems[{context.begin(), context.end()}][{next.begin(), next.end() - 1}].push_back(i);
      else
        stems[input_of(requests[i], window)][{}].push_back(i);
    }
  }
  return stems;
}

void StemBatches::add(const Stems::value_type& stem) {
  const auto length = stem.first.size();
  const auto fits = [&](const Some& some) {
    return some.stems.front()->size() == length &&
           (some.stems.size() + 1) * length <= static_cast<size_t>(kBatchTokens);
  };
  if (batches_.empty() || !fits(batches_.back())) batches_.emplace_back();
  Some& some = batches_.back();
  tokens_ += static_cast<int64_t>(length);
  for (const auto& [tokens, requests] : stem.second) {
    const Leaf leaf{std::ssize(some.stems), &tokens, &requests};
    const auto shorter = [](const Leaf& a, const Leaf& b) { return a.tokens->size() > b.tokens->size(); };
    some.leaves.insert(std::ranges::upper_bound(some.leaves, leaf, shorter), leaf);
    tokens_ += std::ssize(tokens);
  }
  some.stems.push_back(&stem.first);
}

std::vector<std::span<const StemBatches::Leaf>> StemBatches::leaf_batches(const Some& some) {
  std::vector<std::span<const Leaf>> batches;
  const auto end = std::ranges::find_if(some.leaves, [](const Leaf& leaf) { return leaf.tokens->empty(); });
  for (std::span<const Leaf> left(some.leaves.begin(), end); !left.empty();) {
    const size_t most = static_cast<size_t>(kBatchTokens) / left.front().tokens->size();
    batches.push_back(left.first(std::clamp<size_t>(most, 1, left.size())));
    left = left.subspan(batches.back().size());
  }
  return batches;
}

Batch StemBatches::leaf_batch(std::span<const Leaf> leaves, int64_t stem_length, KeyValueCache& stem,
                              std::deque<KeyValueCache>& caches) {
  std::vector<const TokenRow*> tokens;
  std::vector<int64_t> rows;
  for (const Leaf& leaf : leaves) {
    tokens.push_back(leaf.tokens);
    rows.push_back(leaf.stem);
  }
  caches.push_back(KeyValueCache::of_leaves(stem, stem_length, at::tensor(rows, at::kLong)));
  return {stacked(tokens), &caches.back()};
}

void StemBatches::show(std::span<const at::Tensor> hidden, const Visit& visit) const {
  auto states = hidden.begin();
  for (const Some& some : batches_) {
    const at::Tensor& stems = *states++;
    for (const Leaf& leaf : some.leaves)
      if (leaf.tokens->empty()) visit(leaf, stems.select(0, leaf.stem));
    for (const std::span<const Leaf> together : leaf_batches(some)) {
      const at::Tensor& leaves = *states++;
      for (int64_t row = 0; row < std::ssize(together); ++row) {
        const Leaf& leaf = together[static_cast<size_t>(row)];
        const at::Tensor own = leaves.select(0, row).narrow(0, 0, std::ssize(*leaf.tokens));
        visit(leaf, at::cat({stems.select(0, leaf.stem).slice(0, -1), own}));
      }
    }
  }
}

void StemBatches::run(Decoder& decoder, std::span<const Request> requests,
                      const std::function<void(size_t request, const at::Tensor& states)>& visit) const {
  std::vector<Batch> batches;
  std::deque<KeyValueCache> caches;
  for (const Some& some : batches_) {
    const auto leaves = leaf_batches(some);
    KeyValueCache* stem = leaves.empty() ? nullptr : &caches.emplace_back(KeyValueCache::of_stem());
    batches.push_back({stacked(some.stems), stem});
    for (const std::span<const Leaf> together : leaves)
      batches.push_back(leaf_batch(together, std::ssize(*some.stems.front()), *stem, caches));
  }
  show(decoder.forward(batches), [&](const Leaf& leaf, const at::Tensor& states) {
    for (const size_t i : *leaf.requests) {
      const auto count = std::ssize(requests[i].continuation);
      visit(i, states.narrow(0, states.size(0) - count, count));
    }
  });
}

}  // namespace spinor::runtime
