// Keys and values of the tokens so far.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace spinor {

// As attention reads them, transformed and quantized; of latent attention, what heads share: (sequences, room, heads,
// size) a layer.
class KeyValueCache {
 public:
  KeyValueCache(int64_t layers, int64_t room);

  int64_t length() const { return length_; }
  // Keeps those of more tokens, and returns all of the layer. They count from advance() on.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& keys, const at::Tensor& values);
  void advance(int64_t tokens) { length_ += tokens; }

 private:
  at::Tensor append(at::Tensor& kept, const at::Tensor& more) const;

  std::vector<at::Tensor> keys_, values_;  // made when the first token comes
  int64_t room_, length_ = 0;
};

}  // namespace spinor
