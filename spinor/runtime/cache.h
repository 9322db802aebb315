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
  // For one pass of all layers, which others may continue in the same pass: it holds the layer of the moment.
  static KeyValueCache of_stem();
  // Sequences that each continue one of a stem's, which are so long: which, (sequences), int64. For the stem's pass,
  // after it in each layer; the stem must outlive it.
  static KeyValueCache of_leaves(const KeyValueCache& stem, int64_t length, const at::Tensor& sequences);

  int64_t length() const { return length_; }
  // Keeps those of more tokens, and returns all of the layer. They count from advance() on.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& keys, const at::Tensor& values);
  // Two tensors of linear attention, which every token changes; undefined before the first.
  std::array<at::Tensor, 2>& state(int64_t layer);
  void advance(int64_t tokens) { length_ += tokens; }
  // Only those of these sequences from now on: (sequences), int64.
  void keep(const at::Tensor& sequences);

 private:
  at::Tensor append(at::Tensor& kept, const at::Tensor& more) const;
  at::Tensor chosen(const at::Tensor& of_stem) const;

  std::vector<at::Tensor> keys_, values_;  // made when the first token comes
  std::vector<std::array<at::Tensor, 2>> states_;
  int64_t room_, length_ = 0;
  bool one_pass_ = false;  // one layer's, the first
  const KeyValueCache* stem_ = nullptr;
  at::Tensor sequences_ = {};  // of the stem
};

}  // namespace spinor::runtime
