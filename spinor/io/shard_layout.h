// Which tensor goes where in an output directory: files, headers and index, all known before the first byte is written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/io/safetensors.h"

namespace spinor {

struct OutputLayout {
  struct Shard {
    std::string file;                 // "model.safetensors" or "model-00001-of-00002.safetensors"
    std::string header;               // bytes before the first tensor
    std::vector<TensorInfo> tensors;  // with begin / end
    int64_t bytes = 0;                // of the whole file
  };
  std::vector<Shard> shards;
  std::string index;  // the text of model.safetensors.index.json; empty if there is one shard
  int64_t bytes = 0;  // of all tensors
};

// Splits tensors, in the given order, into shards of at most max_shard_bytes of tensor bytes (a larger tensor gets its
// own, before the shard that is being filled), named and laid out byte for byte as transformers' save_pretrained does
// (5.23). begin and end of the input are ignored. Throws for no tensors, duplicate names, and a max_shard_bytes < 1.
OutputLayout layout_shards(const std::vector<TensorInfo>& tensors, int64_t max_shard_bytes);

// Bytes of "5GB", "500MB", "1.5 GB" (decimal, as transformers reads them), "5GiB" (binary) or "5000000000"; case does
// not matter. Throws an Error that lists the units.
int64_t parse_size(std::string_view text);

}  // namespace spinor
