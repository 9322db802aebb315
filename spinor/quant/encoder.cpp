#include "spinor/quant/encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>

#include "spinor/base/error.h"
#include "spinor/linalg/convert.h"
#include "spinor/quant/float8.h"
#include "spinor/quant/pack.h"
#include "spinor/quant/range_observer.h"

namespace spinor {
namespace {

const WeightFormat& encodable(const WeightLayout& layout) {
  const WeightFormat& format = checked_format(layout);
  if (!format.encodes) throw Error("weight", fmt::format("{} is only read, never written", layout.format));
  return format;
}

template <typename T>
std::vector<std::byte> bytes_of(std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

ScaleRule rule_of(const WeightLayout& layout, const WeightFormat& format, DType arithmetic) {
  ScaleRule rule{numbers_of(layout, format), layout.args.symmetric, format.scale, layout.dtype};
  rule.numbers.arithmetic = arithmetic;
  return rule;
}

// What the grid of the mse search is made of. It knows no global scale, and does not round to FP8.
std::optional<GridSearch> search_of(const ObserverOptions& observer, ScaleRule rule) {
  if (!observer.mse) return {};
  if (rule.storage == ScaleStorage::e4m3) {
    rule.storage = ScaleStorage::plain;
    rule.dtype = rule.numbers.arithmetic;
  }
  return GridSearch(observer, rule);
}

}  // namespace

struct WeightEncoder::Data {
  WeightLayout layout;
  const WeightFormat& format;
  GroupGrid grid;
  DType rounded;  // what the weight is rounded to first; F32 for not at all
  ScaleRule rule;
  Numbers numbers;  // of the codes
  RangeObserver ranges;

  Data(WeightLayout weight, const ObserverOptions& options, QuantizationArithmetic arithmetic)
      : layout(std::move(weight)),
        format(encodable(layout)),
        grid(layout),
        rounded(arithmetic == QuantizationArithmetic::peer ? layout.dtype : DType::F32),
        rule(rule_of(layout, format, rounded)),
        numbers(rule.numbers),
        ranges(grid, rule.symmetric, search_of(options, rule)) {
    if (has_global_scale()) numbers.arithmetic = DType::F32;  // as it is float32, the peer divides in float32
    if (options.imatrix) ranges.set_importance(std::vector<float>(static_cast<size_t>(layout.cols), 1.0F));
  }

  bool has_global_scale() const { return format.scale == ScaleStorage::e4m3; }

  Affine affine(int64_t group) const;
  void find_affine(Tile& tile, const Band& band, std::vector<Affine>& found);
  void pack_row(const uint8_t* found, int64_t cols, std::byte* to) const;
  template <class Work>
  void for_each_row(int64_t row, int64_t col, MatrixView<const float> x, Work work);
  std::vector<std::byte> scales() const;
  std::vector<std::byte> zero_points() const;
};

Affine WeightEncoder::Data::affine(int64_t group) const {
  const Range range = ranges.range(group);
  const Affine found = rule.affine(range);
  if (!std::isfinite(found.scale))
    throw Error("weight",
                fmt::format("the scale of the values of row {} up to {} is infinite as {}",
                            group / grid.cols() * grid.size().group_rows, range.high, info(layout.dtype).name));
  return found;
}

// What codes of the band are made with; ranges come from the tile itself if there was no pass.
void WeightEncoder::Data::find_affine(Tile& tile, const Band& band, std::vector<Affine>& found) {
  if (!ranges.done()) {
    if (ranges.searches() || has_global_scale() || !grid.whole(band, 0, tile.col, tile.cols()) ||
        !grid.whole(band, band.groups - 1, tile.col, tile.cols()))
      throw Error("weight", "is encoded before it was observed");
    ranges.observe(0, tile, band);
  }
  found.resize(static_cast<size_t>(band.groups));
  for (int64_t k = 0; k < band.groups; ++k) found[static_cast<size_t>(k)] = affine(band.first_group + k);
}

// Calls work(i, codes, band, affine) for each row i of the tile; one byte a code.
template <class Work>
void WeightEncoder::Data::for_each_row(int64_t row, int64_t col, MatrixView<const float> x, Work work) {
  Tile tile(rounded, row, col, x);
  std::vector<Affine> affine;
  std::vector<uint8_t> codes(static_cast<size_t>(x.cols));
  grid.for_each_band(row, col, x.rows, x.cols, [&](const Band& band) {
    find_affine(tile, band, affine);
    for (int64_t i = band.row; i < band.row + band.rows; ++i) {
      quantize(numbers, tile.read(i), x.cols, band.segments, affine.data(), codes.data());
      work(i, codes.data(), band, affine.data());
    }
  });
}

void WeightEncoder::Data::pack_row(const uint8_t* found, int64_t cols, std::byte* to) const {
  const int bits = format.storage == CodeStorage::bytes ? 8 : numbers.bits;
  pack_bits(found, cols, bits, to);
  std::fill(to + packed_bytes(cols, bits), to + code_bytes(layout, format, cols), std::byte{0});
}

std::vector<std::byte> WeightEncoder::Data::scales() const {
  std::vector<float> values;
  for (int64_t g = 0; g < grid.count(); ++g) values.push_back(rule.stored(ranges.range(g)).scale);
  if (format.scale != ScaleStorage::plain) {
    std::vector<uint8_t> codes(values.size());
    std::ranges::transform(values, codes.begin(), format.scale == ScaleStorage::e8m0 ? to_e8m0 : to_e4m3);
    return bytes_of<uint8_t>(codes);
  }
  std::vector<std::byte> bytes(values.size() * static_cast<size_t>(info(layout.dtype).bits / 8));
  if (!store(layout.dtype, values.data(), bytes.data(), std::ssize(values)))
    throw Error("weight", fmt::format("a scale is infinite as {}", info(layout.dtype).name));
  return bytes;
}

std::vector<std::byte> WeightEncoder::Data::zero_points() const {
  const bool packed = has_packed_zero_points(layout, format);
  const int offset = packed ? 1 << (layout.args.num_bits - 1) : 0;
  std::vector<uint8_t> zeros(static_cast<size_t>(grid.count()));
  for (int64_t g = 0; g < grid.count(); ++g)
    zeros[static_cast<size_t>(g)] = static_cast<uint8_t>(static_cast<int>(rule.stored(ranges.range(g)).zero) + offset);
  return packed ? pack_columns(zeros, grid.rows(), grid.cols(), layout.args.num_bits) : bytes_of<uint8_t>(zeros);
}

WeightEncoder::WeightEncoder(WeightLayout layout, const ObserverOptions& observer, QuantizationArithmetic arithmetic)
    : data_(std::make_unique<Data>(std::move(layout), observer, arithmetic)) {}
WeightEncoder::~WeightEncoder() = default;
WeightEncoder::WeightEncoder(WeightEncoder&&) noexcept = default;

const WeightLayout& WeightEncoder::layout() const {
  return data_->layout;
}

Granularity WeightEncoder::granularity() const {
  return data_->grid.size();
}

// Scaled to a mean of 1, as the peer does.
bool WeightEncoder::set_importance(std::span<const float> columns) {
  assert(std::ssize(columns) == data_->layout.cols);
  const double mean = std::accumulate(columns.begin(), columns.end(), 0.0) / static_cast<double>(columns.size());
  if (mean == 0) return false;
  std::vector<float> scaled(columns.begin(), columns.end());
  for (float& value : scaled) value = static_cast<float>(value / mean);
  data_->ranges.set_importance(std::move(scaled));
  return true;
}

int WeightEncoder::passes(bool whole_groups) const {
  if (data_->ranges.searches()) return whole_groups ? 1 : 2;
  return whole_groups && !data_->has_global_scale() ? 0 : 1;
}

void WeightEncoder::observe(int pass, int64_t row, int64_t col, MatrixView<const float> x) {
  Tile tile(data_->rounded, row, col, x);
  data_->grid.for_each_band(row, col, x.rows, x.cols,
                            [&](const Band& band) { data_->ranges.observe(pass, tile, band); });
}

void WeightEncoder::end_pass(int pass) {
  data_->ranges.end_pass(pass);
  if (data_->ranges.done() && data_->has_global_scale()) share_largest_magnitude(largest_magnitude());
}

float WeightEncoder::largest_magnitude() const {
  return data_->ranges.largest_magnitude();
}

void WeightEncoder::share_largest_magnitude(float value) {
  data_->rule.global = global_scale(data_->rounded, value);
}

int64_t WeightEncoder::row_bytes(int64_t cols) const {
  return code_bytes(data_->layout, data_->format, cols);
}

void WeightEncoder::encode(int64_t row, int64_t col, MatrixView<const float> x, std::byte* codes, int64_t stride) {
  data_->for_each_row(row, col, x, [&](int64_t i, const uint8_t* found, const Band&, const Affine*) {
    data_->pack_row(found, x.cols, codes + i * stride);
  });
}

void WeightEncoder::pack(MatrixView<const uint8_t> codes, std::byte* to, int64_t stride) const {
  for (int64_t i = 0; i < codes.rows; ++i) data_->pack_row(codes.row(i), codes.cols, to + i * stride);
}

void WeightEncoder::quantize_dequantize(int64_t row, int64_t col, MatrixView<float> x) {
  data_->for_each_row(row, col, x, [&](int64_t i, const uint8_t* found, const Band& band, const Affine* affine) {
    (void)dequantize(data_->numbers, found, x.cols, band.segments, affine, x.row(i));  // our own codes
  });
}

DType WeightEncoder::rounded() const {
  return data_->rounded;
}

const Numbers& WeightEncoder::numbers() const {
  return data_->numbers;
}

Affine WeightEncoder::affine(int64_t group) const {
  return data_->affine(group);
}

std::vector<std::byte> WeightEncoder::small_tensor(size_t index) const {
  const Data& data = *data_;
  const std::string suffix = stored_tensors(data.layout).at(index).suffix;
  if (suffix == "weight_zero_point") return data.zero_points();
  if (suffix == "weight_shape") return bytes_of<int64_t>(std::array{data.layout.rows, data.layout.cols});
  if (suffix == "weight_global_scale") return bytes_of<float>(std::array{data.rule.global});
  return data.scales();
}

}  // namespace spinor
