#include "spinor/quant/activation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"

namespace spinor {

Numbers numbers_of(const QuantizationArgs& args) {
  if (args.type == QuantizationType::integer && args.num_bits >= 2 && args.num_bits <= 8)
    return {CodeType::integer, args.num_bits};
  if (args.type == QuantizationType::floating && args.num_bits == 8) return {CodeType::e4m3, 8};
  if (args.type == QuantizationType::floating && args.num_bits == 4) return {CodeType::e2m1, 4};
  throw Error("activations", fmt::format("cannot be quantized to {} bits of this type", args.num_bits));
}

namespace {

ScaleStorage storage_of(const QuantizationArgs& args) {
  if (args.scale_dtype == "torch.uint8") return ScaleStorage::e8m0;
  return args.strategy == QuantizationStrategy::tensor_group ? ScaleStorage::e4m3 : ScaleStorage::plain;
}

}  // namespace

ActivationQuantizer::ActivationQuantizer(const QuantizationArgs& args, float clip, const StaticActivation& fixed)
    : rule_{.numbers = numbers_of(args), .symmetric = args.symmetric, .storage = storage_of(args)}, clip_(clip) {
  const QuantizationStrategy strategy = args.strategy.value_or(QuantizationStrategy::token);
  if (strategy == QuantizationStrategy::group || strategy == QuantizationStrategy::tensor_group)
    group_size_ = args.group_size.value_or(0);
  if (strategy == QuantizationStrategy::tensor_group) {
    if (!fixed.global) throw Error("activations", "have no input_global_scale", "the checkpoint is incomplete");
    if (!(*fixed.global > 0) || !std::isfinite(*fixed.global))
      throw Error("activations", fmt::format("have an input_global_scale of {}", *fixed.global),
                  "it is a positive number; the checkpoint is damaged");
    rule_.global = *fixed.global;
    return;
  }
  const bool of_heads = strategy == QuantizationStrategy::attn_head;
  if ((strategy == QuantizationStrategy::tensor || of_heads) && args.dynamic == QuantizationDynamic::no) {
    affine_ = fixed.affine;
    if (affine_.empty()) throw Error("activations", "have no static scale", "the checkpoint is incomplete");
    if (!of_heads && affine_.size() > 1)
      throw Error("activations", fmt::format("have {} scales, and strategy: tensor has one", affine_.size()));
    return;
  }
  if (strategy != QuantizationStrategy::token && strategy != QuantizationStrategy::group)
    throw Error("activations", "have a strategy that spinor cannot run",
                "it runs token and group (dynamic), tensor and attn_head (static) and tensor_group");
}

ActivationQuantizer ActivationQuantizer::without_global(const QuantizationArgs& args, float clip) {
  StaticActivation any;
  any.global = 1.0F;
  ActivationQuantizer quantizer(args, clip, any);
  quantizer.needs_global_ = true;
  return quantizer;
}

ActivationQuantizer ActivationQuantizer::with_global_of(float magnitude) const {
  ActivationQuantizer whole = *this;
  whole.rule_.global = global_scale(DType::F32, magnitude);
  whole.needs_global_ = false;
  return whole;
}

QuantizationArgs ActivationQuantizer::token_args(int bits, bool symmetric) {
  QuantizationArgs args{.num_bits = bits, .symmetric = symmetric};
  args.strategy = QuantizationStrategy::token;
  args.dynamic = QuantizationDynamic::yes;
  return args;
}

void ActivationQuantizer::apply(MatrixView<float> x, Scratch& scratch, int64_t first_row) const {
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto head = affine_.empty() ? 0 : static_cast<size_t>(first_row + i) % affine_.size();
    apply_row(x.row(i), x.cols, affine_.empty() ? nullptr : &affine_[head], scratch);
  }
}

void ActivationQuantizer::apply_row(float* x, int64_t n, const Affine* fixed, Scratch& scratch) const {
  const Segments groups{group_size_ > 0 ? std::min(group_size_, n) : n, group_size_ > 0 ? group_size_ : n};
  const auto count = static_cast<size_t>(groups.count(n));
  scratch.affine.assign(count, fixed ? *fixed : Affine{});
  scratch.low.assign(count, 0);
  scratch.high.assign(count, 0);
  if (!widen(x, n, groups, scratch.low.data(), scratch.high.data())) return;  // not finite
  for (size_t g = 0; g < count && !fixed; ++g) {
    Range range{scratch.low[g] * clip_, scratch.high[g] * clip_};
    if (rule_.symmetric) range = {-std::max(-range.low, range.high), std::max(-range.low, range.high)};
    scratch.affine[g] = rule_.affine(range);
  }
  scratch.codes.resize(static_cast<size_t>(n));
  quantize(rule_.numbers, x, n, groups, scratch.affine.data(), scratch.codes.data());
  (void)dequantize(rule_.numbers, scratch.codes.data(), n, groups, scratch.affine.data(), x);  // no code is NaN
}

}  // namespace spinor
