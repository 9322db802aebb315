// What a quantized weight is on disk: its tensors, their shapes, and where its codes and groups lie.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/dtype.h"
#include "spinor/quant/round.h"
#include "spinor/quant/scheme.h"

namespace spinor {

// A tensor that a quantized weight becomes: model.layers.0.self_attn.q_proj + "." + suffix.
struct StoredTensor {
  std::string suffix;  // "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_global_scale"
  DType dtype{};
  std::vector<int64_t> shape = {};
};

// A weight (rows, cols) under one scheme in one format.
struct WeightLayout {
  QuantizationArgs args;
  // "pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "nvfp4-pack-quantized",
  // "mxfp4-pack-quantized", "mxfp8-quantized"; to decode only: "fp8" and "fp8-e8m0" (weight, weight_scale_inv),
  // "gpt-oss-mxfp4" (whose suffixes _blocks and _scales follow the name without a dot).
  std::string format;
  int64_t rows = 0, cols = 0;
  DType dtype = DType::BF16;  // F32, F16 or BF16: the weight's if it were stored unquantized, and its scales'
};

// The tensors of a layout; the first holds the codes, the others are small. Error, about "weight", where groups do not
// divide, columns do not pack, or the format does not hold such args.
std::vector<StoredTensor> stored_tensors(const WeightLayout& layout);

// How tiles may be cut so that every word of codes lies inside one tile, and every group if possible. A tile's origin
// and size are multiples of these, unless it ends where the tensor does.
struct Granularity {
  int64_t rows = 1, cols = 1;              // of codes: must be respected
  int64_t group_rows = 1, group_cols = 1;  // of groups: a tile that does not must be observed before it is encoded
  int64_t read_rows = 1;  // that lie together in the file: what is read at once should have all of them
};

Granularity granularity(const WeightLayout& layout);

// ---- For the codecs

enum class CodeStorage { words, bytes, nibbles };
enum class ScaleStorage { plain, e4m3, e8m0 };  // in the weight's dtype; as FP8 times one for the tensor; 2^e

struct WeightFormat {
  std::string_view name, codes, scales;  // suffixes
  QuantizationType type;
  int min_bits, max_bits;
  CodeStorage storage;
  ScaleStorage scale;
  int64_t group_size;  // 0: any, or another strategy
  bool encodes;
};

// The row of this layout. Errors as of stored_tensors.
const WeightFormat& checked_format(const WeightLayout& layout);
Numbers numbers_of(const WeightLayout& layout, const WeightFormat& format);
bool has_packed_zero_points(const WeightLayout& layout, const WeightFormat& format);
// Bytes that `cols` codes of a row take.
int64_t code_bytes(const WeightLayout& layout, const WeightFormat& format, int64_t cols);

}  // namespace spinor
