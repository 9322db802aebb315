#include "spinor/runtime/cache.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace spinor::runtime {

KeyValueCache::KeyValueCache(int64_t layers, int64_t room)
    : keys_(static_cast<size_t>(layers)),
      values_(static_cast<size_t>(layers)),
      states_(static_cast<size_t>(layers)),
      room_(room) {}

KeyValueCache KeyValueCache::of_stem() {
  KeyValueCache cache(1, 0);
  cache.one_pass_ = true;
  return cache;
}

KeyValueCache KeyValueCache::of_leaves(const KeyValueCache& stem, int64_t length, const at::Tensor& sequences) {
  KeyValueCache cache = of_stem();
  cache.length_ = length;
  cache.stem_ = &stem;
  cache.sequences_ = sequences;
  return cache;
}

at::Tensor KeyValueCache::chosen(const at::Tensor& of_stem) const {
  return of_stem.index_select(0, sequences_.to(of_stem.device()));
}

std::array<at::Tensor, 2>& KeyValueCache::state(int64_t layer) {
  if (!one_pass_) return states_[static_cast<size_t>(layer)];
  states_[0] = {};
  if (stem_) states_[0] = {chosen(stem_->states_[0][0]), chosen(stem_->states_[0][1])};
  return states_[0];
}

std::pair<at::Tensor, at::Tensor> KeyValueCache::append(int64_t layer, const at::Tensor& keys,
                                                        const at::Tensor& values) {
  const auto i = static_cast<size_t>(layer);
  if (!one_pass_) return {append(keys_[i], keys), append(values_[i], values)};
  keys_[0] = stem_ ? at::cat({chosen(stem_->keys_[0]), keys}, 1) : keys;
  values_[0] = stem_ ? at::cat({chosen(stem_->values_[0]), values}, 1) : values;
  return {keys_[0], values_[0]};
}

void KeyValueCache::keep(const at::Tensor& sequences) {
  const auto choose = [&](at::Tensor& kept) {
    if (kept.defined()) kept = kept.index_select(0, sequences.to(kept.device()));
  };
  for (at::Tensor& keys : keys_) choose(keys);
  for (at::Tensor& values : values_) choose(values);
  for (auto& states : states_) std::ranges::for_each(states, choose);
}

at::Tensor KeyValueCache::append(at::Tensor& kept, const at::Tensor& more) const {
  if (!kept.defined()) kept = at::empty({more.size(0), room_, more.size(2), more.size(3)}, more.options());
  kept.narrow(1, length_, more.size(1)).copy_(more);
  return kept.narrow(1, 0, length_ + more.size(1));
}

}  // namespace spinor::runtime
