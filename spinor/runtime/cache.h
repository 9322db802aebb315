// Keys and values of the tokens so far.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <utility>
#include <vector>

namespace spinor::runtime {

// As attention reads them, transformed and quantized; of latent attention, what heads share: (sequences, room, heads,
// size) a layer.
class KeyValueCache {
 public:
  KeyValueCache(int64_t layers, int64_t room);

  int64_t length() const { return length_; }
  // Keeps those of more tokens, and returns all of the layer. They count from advance() on.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& keys, const at::Tensor& values);
  // Two tensors of linear attention, which every token changes; undefined before the first.
  std::array<at::Tensor, 2>& state(int64_t layer) { return states_[static_cast<size_t>(layer)]; }
  void advance(int64_t tokens) { length_ += tokens; }
  // Only those of these sequences from now on: (sequences), int64.
  void keep(const at::Tensor& sequences);

 private:
  at::Tensor append(at::Tensor& kept, const at::Tensor& more) const;

  std::vector<at::Tensor> keys_, values_;  // made when the first token comes
  std::vector<std::array<at::Tensor, 2>> states_;
  int64_t room_, length_ = 0;
};

}  // namespace spinor::runtime
