// A weight to codes, tile by tile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "spinor/base/view.h"
#include "spinor/quant/observer_options.h"
#include "spinor/quant/weight_layout.h"

namespace spinor {

// Where weights and scales are rounded while codes are made.
enum class QuantizationArithmetic {
  exact,  // all in float32 from the edited weight, unrounded; only the scale that divides has the stored dtype
  peer  // as compressed-tensors on the CPU: the weight is rounded to the stored dtype first, and all is computed in it
};

// Quantizes one weight. Tiles respect granularity()'s rows and cols, and are cut alike in every pass and in encode.
// They come in any order and from several threads, each element once a pass: results depend on neither. Only the mse
// search of groups larger than a tile depends on the cut, by the rounding of sums of errors.
class WeightEncoder {
 public:
  // Errors as of stored_tensors, and for a format that is only read. All errors below are about "weight", for the
  // caller to say which.
  explicit WeightEncoder(WeightLayout layout, const ObserverOptions& observer = {},
                         QuantizationArithmetic arithmetic = QuantizationArithmetic::exact);
  ~WeightEncoder();
  WeightEncoder(WeightEncoder&&) noexcept;

  const WeightLayout& layout() const;
  Granularity granularity() const;
  // Before the first pass, for an imatrix observer: how much the errors of each column weigh, as the mean square of its
  // input; not negative. Only ratios matter. Without it all weigh the same; so they do if all are 0: false.
  bool set_importance(std::span<const float> columns);
  // How often all tiles must be observed before any is encoded. 0: tiles observe themselves while they are encoded,
  // which takes minmax and whole groups in every tile. Otherwise 1, or 2 for mse where a tile has parts of groups: the
  // ranges, then the errors.
  int passes(bool whole_groups) const;
  // x is the tile at (row, col) of the weight. Error for values that are not finite, or not so in the stored dtype.
  void observe(int pass, int64_t row, int64_t col, MatrixView<const float> x);
  void end_pass(int pass);  // after every tile, from one thread
  // For tensor_group, after the last pass: the largest magnitude that codes of this tensor shall reach. Tensors that
  // share one global scale (q, k, v; gate, up) are given the largest of theirs, before they are encoded.
  float largest_magnitude() const;
  void share_largest_magnitude(float value);

  // Codes of the tile, packed as the format has them: row i begins at codes + i * stride, row_bytes(x.cols) of it.
  // Error for values that are not finite, and for a range whose scale is infinite in its dtype.
  void encode(int64_t row, int64_t col, MatrixView<const float> x, std::byte* codes, int64_t stride);
  int64_t row_bytes(int64_t cols) const;
  // The last step of encode alone: codes that came about otherwise, one byte each as quantize() with numbers() has
  // them.
  void pack(MatrixView<const uint8_t> codes, std::byte* to, int64_t stride) const;
  // x <- what the decoder makes of its codes.
  void quantize_dequantize(int64_t row, int64_t col, MatrixView<float> x);

  // What codes are made with, for who makes them: what values are rounded to before, then the numbers, and the affine
  // map of a group, by its index row by row, once all was observed. Error for a scale that is infinite in its dtype.
  DType rounded() const;
  const Numbers& numbers() const;
  Affine affine(int64_t group) const;

  // The bytes of a small tensor, by its index in stored_tensors(); after every tile was observed or encoded.
  std::vector<std::byte> small_tensor(size_t index) const;

 private:
  struct Data;
  std::unique_ptr<Data> data_;
};

}  // namespace spinor
