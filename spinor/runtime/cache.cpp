#include "spinor/runtime/cache.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace spinor::runtime {

KeyValueCache::KeyValueCache(int64_t layers, int64_t room)
    : keys_(static_cast<size_t>(layers)),
      values_(static_cast<size_t>(layers)),
      states_(static_cast<size_t>(layers)),
      room_(room) {}

std::pair<at::Tensor, at::Tensor> KeyValueCache::append(int64_t layer, const at::Tensor& keys,
                                                        const at::Tensor& values) {
  const auto i = static_cast<size_t>(layer);
  return {append(keys_[i], keys), append(values_[i], values)};
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
