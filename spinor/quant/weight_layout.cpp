#include "spinor/quant/weight_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "spinor/base/error.h"
#include "spinor/quant/pack.h"

namespace spinor {
namespace {

using enum QuantizationType;
using enum CodeStorage;

constexpr WeightFormat kFormats[] = {
    {"pack-quantized", "weight_packed", "weight_scale", integer, 2, 8, words, ScaleStorage::plain, 0, true},
    {"int-quantized", "weight", "weight_scale", integer, 2, 8, bytes, ScaleStorage::plain, 0, true},
    {"naive-quantized", "weight", "weight_scale", integer, 2, 8, bytes, ScaleStorage::plain, 0, true},
    {"naive-quantized", "weight", "weight_scale", floating, 8, 8, bytes, ScaleStorage::plain, 0, true},
    {"float-quantized", "weight", "weight_scale", floating, 8, 8, bytes, ScaleStorage::plain, 0, true},
    {"nvfp4-pack-quantized", "weight_packed", "weight_scale", floating, 4, 4, nibbles, ScaleStorage::e4m3, 16, true},
    {"mxfp4-pack-quantized", "weight_packed", "weight_scale", floating, 4, 4, nibbles, ScaleStorage::e8m0, 32, true},
    {"mxfp8-quantized", "weight", "weight_scale", floating, 8, 8, bytes, ScaleStorage::e8m0, 32, true},
    {"fp8", "weight", "weight_scale_inv", floating, 8, 8, bytes, ScaleStorage::plain, 0, false},
    {"fp8-e8m0", "weight", "weight_scale_inv", floating, 8, 8, bytes, ScaleStorage::e8m0, 0, false},
    {"gpt-oss-mxfp4", "_blocks", "_scales", floating, 4, 4, nibbles, ScaleStorage::e8m0, 32, false},
};

constexpr int64_t kSmallestGroup = 16;  // below, a scale costs two bits a weight and more

[[noreturn]] void refuse(const std::string& problem, const std::string& hint = {}) {
  throw Error("weight", problem, hint);
}

const WeightFormat& find_format(const WeightLayout& layout) {
  const auto named = std::ranges::find(kFormats, layout.format, &WeightFormat::name);
  if (named == std::end(kFormats)) refuse(fmt::format("no format '{}' for quantized weights", layout.format));
  const auto row = std::ranges::find_if(named, std::end(kFormats), [&](const WeightFormat& one) {
    return one.name == layout.format && one.type == layout.args.type;
  });
  const auto& args = layout.args;
  if (row == std::end(kFormats) || args.num_bits < row->min_bits || args.num_bits > row->max_bits)
    refuse(fmt::format("{} does not hold {} of {} bits", layout.format, name_in_table(args.type), args.num_bits));
  return *row;
}

void check_group_size(const WeightLayout& layout, int64_t demanded) {
  const int64_t size = layout.args.group_size.value_or(0);
  if (size < 1) refuse("groups need a group_size");
  if (demanded != 0 && size != demanded)
    refuse(fmt::format("{} has groups of {}, not of {}", layout.format, demanded, size));
  if (layout.cols % size == 0) return;
  const int64_t smaller = std::gcd(layout.cols, size);  // divides both
  std::string instead;
  if (demanded == 0)
    instead = smaller >= kSmallestGroup
                  ? fmt::format("use --group-size {0} by command, group_size: {0} in a recipe, or ", smaller)
                  : "use a scheme without groups, or ";
  refuse(fmt::format("{} columns are not divisible by group_size {}", layout.cols, size),
         instead + "leave the module out: its name in --ignore by command, in ignore in a recipe");
}

void check_strategy(const WeightLayout& layout, const WeightFormat& format) {
  using enum QuantizationStrategy;
  const auto& args = layout.args;
  const QuantizationStrategy strategy = args.strategy.value_or(tensor);
  const QuantizationStrategy demanded = format.scale == ScaleStorage::e4m3 ? tensor_group
                                        : format.group_size != 0           ? group
                                                                           : strategy;
  if (strategy != demanded || (strategy == tensor_group && format.scale != ScaleStorage::e4m3) || strategy == token ||
      strategy == attn_head)
    refuse(fmt::format("{} does not hold weights of strategy {}", layout.format, name_in_table(strategy)));
  if (strategy == group || strategy == tensor_group) check_group_size(layout, format.group_size);
  if (strategy == block &&
      (!args.block_structure || args.block_structure->first < 1 || args.block_structure->second < 1))
    refuse("blocks need a block_structure");
}

void check_scale_dtype(const WeightLayout& layout, const WeightFormat& format) {
  if (!layout.args.scale_dtype) return;
  const DType demanded = format.scale == ScaleStorage::e4m3   ? DType::F8_E4M3
                         : format.scale == ScaleStorage::e8m0 ? DType::U8
                                                              : layout.dtype;
  const DTypeInfo* row = find_dtype(*layout.args.scale_dtype);
  if (row == nullptr || row->dtype != demanded)
    refuse(
        fmt::format("scales of {} are {} here, not {}", layout.format, info(demanded).torch, *layout.args.scale_dtype));
}

std::vector<int64_t> scale_shape(const WeightLayout& layout) {
  if (layout.args.strategy.value_or(QuantizationStrategy::tensor) == QuantizationStrategy::tensor) return {1};
  const Granularity g = granularity(layout);
  return {(layout.rows + g.group_rows - 1) / g.group_rows, (layout.cols + g.group_cols - 1) / g.group_cols};
}

StoredTensor codes_tensor(const WeightLayout& layout, const WeightFormat& format) {
  const std::string suffix(format.codes);
  const int64_t row = code_bytes(layout, format, layout.cols);
  if (format.storage == words) return {suffix, DType::I32, {layout.rows, row / 4}};
  if (format.name == "gpt-oss-mxfp4") return {suffix, DType::U8, {layout.rows, row / 16, 16}};
  if (format.storage == nibbles) return {suffix, DType::U8, {layout.rows, row}};
  return {suffix, format.type == integer ? DType::I8 : DType::F8_E4M3, {layout.rows, row}};
}

}  // namespace

const WeightFormat& checked_format(const WeightLayout& layout) {
  if (layout.rows < 1 || layout.cols < 1)
    refuse(fmt::format("shape ({}, {}) has no elements", layout.rows, layout.cols));
  if (layout.dtype != DType::F32 && layout.dtype != DType::F16 && layout.dtype != DType::BF16)
    refuse(fmt::format("{} is not a dtype of scales", info(layout.dtype).name), "F32, F16 and BF16 are");
  const WeightFormat& format = find_format(layout);
  if (format.type == floating && !layout.args.symmetric) refuse("floating-point codes are symmetric");
  check_strategy(layout, format);
  check_scale_dtype(layout, format);
  if (!layout.args.symmetric && layout.args.zp_dtype && find_dtype(*layout.args.zp_dtype) != &info(DType::I8))
    refuse(fmt::format("zero points are int8, not {}", *layout.args.zp_dtype));
  return format;
}

Numbers numbers_of(const WeightLayout& layout, const WeightFormat& format) {
  const int bits = layout.args.num_bits;
  if (format.type == floating) return {.type = bits == 4 ? CodeType::e2m1 : CodeType::e4m3, .bits = bits};
  return {.type = CodeType::integer, .bits = bits, .bias = format.storage == words ? 1 << (bits - 1) : 0};
}

bool has_packed_zero_points(const WeightLayout& layout, const WeightFormat& format) {
  const auto strategy = layout.args.strategy;
  return !layout.args.symmetric && format.storage == words &&
         (strategy == QuantizationStrategy::group || strategy == QuantizationStrategy::channel);
}

int64_t code_bytes(const WeightLayout& layout, const WeightFormat& format, int64_t cols) {
  if (format.storage == words) return packed_word_bytes(cols, layout.args.num_bits);
  return format.storage == nibbles ? packed_bytes(cols, 4) : cols;
}

std::vector<StoredTensor> stored_tensors(const WeightLayout& layout) {
  const WeightFormat& format = checked_format(layout);
  const std::vector<int64_t> shape = scale_shape(layout);
  constexpr DType kScaleDTypes[] = {DType::BF16, DType::F8_E4M3, DType::U8};
  const DType scale =
      format.scale == ScaleStorage::plain ? layout.dtype : kScaleDTypes[static_cast<size_t>(format.scale)];
  std::vector<StoredTensor> tensors = {codes_tensor(layout, format), {std::string(format.scales), scale, shape}};
  if (has_packed_zero_points(layout, format)) {
    const int64_t words_down = packed_word_bytes(shape[0], layout.args.num_bits) / 4;
    tensors.push_back({"weight_zero_point", DType::I32, {words_down, shape[1]}});
  } else if (!layout.args.symmetric) {
    tensors.push_back({"weight_zero_point", DType::I8, shape});
  }
  if (format.storage == words) tensors.push_back({"weight_shape", DType::I64, {2}});
  if (format.scale == ScaleStorage::e4m3) tensors.push_back({"weight_global_scale", DType::F32, {1}});
  return tensors;
}

Granularity granularity(const WeightLayout& layout) {
  using enum QuantizationStrategy;
  const WeightFormat& format = checked_format(layout);
  Granularity g;
  if (format.storage == words) g.cols = 32;  // as many as fill whole words whatever the bits
  if (format.storage == nibbles) g.cols = 2;
  const auto strategy = layout.args.strategy.value_or(tensor);
  if (strategy == tensor) g.group_rows = layout.rows;
  if (strategy == tensor || strategy == channel) g.group_cols = layout.cols;
  if (strategy == group || strategy == tensor_group) g.group_cols = *layout.args.group_size;
  if (strategy == block) std::tie(g.group_rows, g.group_cols) = *layout.args.block_structure;
  return g;
}

}  // namespace spinor
