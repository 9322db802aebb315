#include "spinor/quant/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/quant/bands.h"
#include "spinor/quant/float8.h"
#include "spinor/quant/pack.h"

namespace spinor {

struct WeightDecoder::Data {
  WeightLayout layout;
  const WeightFormat& format;
  GroupGrid grid;
  Numbers numbers;
  std::vector<StoredTensor> tensors;
  std::vector<std::byte> scales;
  std::vector<int8_t> zeros;  // empty: 0
  float global = 1;

  Data(WeightLayout weight, std::vector<std::vector<std::byte>> small)
      : layout(std::move(weight)),
        format(checked_format(layout)),
        grid(layout),
        numbers(numbers_of(layout, format)),
        tensors(stored_tensors(layout)) {
    if (small.size() + 1 != tensors.size())
      throw Error("weight", fmt::format("{} has {} tensors, not {}", layout.format, tensors.size(), small.size() + 1));
    for (size_t i = 0; i < small.size(); ++i) take(tensors[i + 1], std::move(small[i]));
    check_scales();
  }

  void take(const StoredTensor& tensor, std::vector<std::byte> bytes);
  void take_zeros(const std::vector<std::byte>& bytes);
  void check_scales() const;
  void affine_of(int64_t first_group, int64_t groups, std::vector<Affine>& found) const;
};

void WeightDecoder::Data::take(const StoredTensor& tensor, std::vector<std::byte> bytes) {
  int64_t expected = info(tensor.dtype).bits / 8;
  for (const int64_t n : tensor.shape) expected *= n;
  if (std::ssize(bytes) != expected)
    throw Error(tensor.suffix, fmt::format("has {} bytes instead of {}", bytes.size(), expected));
  if (tensor.suffix == "weight_shape") {
    int64_t shape[2];
    std::memcpy(shape, bytes.data(), sizeof shape);
    if (shape[0] != layout.rows || shape[1] != layout.cols)
      throw Error(tensor.suffix,
                  fmt::format("is ({}, {}), but the weight is ({}, {})", shape[0], shape[1], layout.rows, layout.cols));
  } else if (tensor.suffix == "weight_global_scale") {
    std::memcpy(&global, bytes.data(), sizeof global);
    if (!std::isfinite(global) || global == 0) throw Error(tensor.suffix, fmt::format("is {}", global));
  } else if (tensor.suffix == "weight_zero_point") {
    take_zeros(bytes);
  } else {
    scales = std::move(bytes);
  }
}

void WeightDecoder::Data::take_zeros(const std::vector<std::byte>& bytes) {
  zeros.resize(static_cast<size_t>(grid.count()));
  if (!has_packed_zero_points(layout, format)) {
    std::memcpy(zeros.data(), bytes.data(), zeros.size());
    return;
  }
  const auto codes = unpack_columns(bytes, grid.rows(), grid.cols(), layout.args.num_bits);
  for (size_t g = 0; g < zeros.size(); ++g)
    zeros[g] = static_cast<int8_t>(codes[g] - (1 << (layout.args.num_bits - 1)));
}

void WeightDecoder::Data::affine_of(int64_t first_group, int64_t groups, std::vector<Affine>& found) const {
  const auto n = static_cast<size_t>(groups), first = static_cast<size_t>(first_group);
  found.resize(n);
  if (format.scale == ScaleStorage::plain) {
    std::vector<float> values(n);
    load(layout.dtype, scales.data() + first * static_cast<size_t>(info(layout.dtype).bits / 8), values.data(), groups);
    for (size_t k = 0; k < n; ++k) found[k] = {values[k], 0};
  } else {
    for (size_t k = 0; k < n; ++k) {
      const auto code = static_cast<uint8_t>(scales[first + k]);
      found[k] = {format.scale == ScaleStorage::e8m0 ? from_e8m0(code) : from_e4m3(code) / global, 0};
    }
  }
  if (!zeros.empty())
    for (size_t k = 0; k < n; ++k) found[k].zero = zeros[first + k];
}

void WeightDecoder::Data::check_scales() const {
  std::vector<Affine> affine;
  for (int64_t i = 0; i < grid.rows(); ++i) {
    affine_of(i * grid.cols(), grid.cols(), affine);
    for (size_t k = 0; k < affine.size(); ++k)
      if (!std::isfinite(affine[k].scale))
        throw Error(std::string(format.scales), fmt::format("[{}, {}] is not finite", i, k));
  }
}

WeightDecoder::WeightDecoder(WeightLayout layout, std::vector<std::vector<std::byte>> small)
    : data_(std::make_unique<Data>(std::move(layout), std::move(small))) {}
WeightDecoder::~WeightDecoder() = default;
WeightDecoder::WeightDecoder(WeightDecoder&&) noexcept = default;

const WeightLayout& WeightDecoder::layout() const {
  return data_->layout;
}

Granularity WeightDecoder::granularity() const {
  return data_->grid.size();
}

int64_t WeightDecoder::row_bytes(int64_t cols) const {
  return code_bytes(data_->layout, data_->format, cols);
}

template <typename T>
void WeightDecoder::decode(int64_t row, int64_t col, const std::byte* codes, int64_t stride, MatrixView<T> out) const {
  const Data& data = *data_;
  const bool packed = data.format.storage != CodeStorage::bytes;
  std::vector<Affine> affine;
  std::vector<uint8_t> unpacked(static_cast<size_t>(packed ? out.cols : 0));
  std::vector<float> values(static_cast<size_t>(std::is_same_v<T, float> ? 0 : out.cols));
  data.grid.for_each_band(row, col, out.rows, out.cols, [&](const Band& band) {
    data.affine_of(band.first_group, band.groups, affine);
    for (int64_t i = band.row; i < band.row + band.rows; ++i) {
      const auto* from = reinterpret_cast<const uint8_t*>(codes + i * stride);
      if (packed) {
        unpack_bits(codes + i * stride, out.cols, data.numbers.bits, unpacked.data());
        from = unpacked.data();
      }
      float* to = values.data();
      if constexpr (std::is_same_v<T, float>) to = out.row(i);
      if (!dequantize(data.numbers, from, out.cols, band.segments, affine.data(), to))
        throw Error(std::string(data.format.codes),
                    fmt::format("row {} has a code that stands for no number", row + i));
      if constexpr (!std::is_same_v<T, float>) std::copy(values.begin(), values.end(), out.row(i));
    }
  });
}

template void WeightDecoder::decode(int64_t, int64_t, const std::byte*, int64_t, MatrixView<float>) const;
template void WeightDecoder::decode(int64_t, int64_t, const std::byte*, int64_t, MatrixView<double>) const;

}  // namespace spinor
