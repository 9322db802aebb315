#include "spinor/quant/activation_range.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/linalg/convert.h"
#include "spinor/quant/activation.h"
#include "spinor/quant/grid_search.h"

namespace spinor {
namespace {

constexpr int64_t kRows = 64;  // of a batch that a thread takes at once

// As llm-compressor computes it in float.
float between(float a, float b, double weight) {
  return a * static_cast<float>(1 - weight) + b * static_cast<float>(weight);
}

// What the observers see is not always on both sides of 0; what codes are made for is.
Range with_zero(Range range, bool symmetric) {
  range = {std::min(range.low, 0.0F), std::max(range.high, 0.0F)};
  if (symmetric) range.high = std::max(-range.low, range.high), range.low = -range.high;
  return range;
}

// The rows of a batch in pieces, each by one thread: work(rows, piece).
template <typename Work>
void for_pieces(MatrixView<const float> batch, int threads, Work work) {
  parallel_for((batch.rows + kRows - 1) / kRows, threads, [&](int64_t piece, int) {
    const int64_t first = piece * kRows;
    work(batch.block(first, 0, std::min(kRows, batch.rows - first), batch.cols), static_cast<size_t>(piece));
  });
}

size_t pieces_of(MatrixView<const float> batch) {
  return static_cast<size_t>((batch.rows + kRows - 1) / kRows);
}

// Of each slot, over all rows; nothing: a value is not finite.
std::vector<Range> ranges_of(MatrixView<const float> batch, int64_t slots, int threads) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const int64_t size = batch.cols / slots;
  std::vector<std::vector<float>> low(pieces_of(batch)), high(low.size());
  std::atomic<bool> finite = true;
  for_pieces(batch, threads, [&](MatrixView<const float> rows, size_t piece) {
    low[piece].assign(static_cast<size_t>(slots), infinity);
    high[piece].assign(static_cast<size_t>(slots), -infinity);
    for (int64_t i = 0; i < rows.rows; ++i)
      if (!widen(rows.row(i), rows.cols, {.first = size, .size = size}, low[piece].data(), high[piece].data()))
        finite = false;
  });
  if (!finite) return {};
  std::vector<Range> ranges(static_cast<size_t>(slots), {infinity, -infinity});
  for (size_t slot = 0; slot < ranges.size(); ++slot)
    for (size_t piece = 0; piece < low.size(); ++piece) {
      ranges[slot].low = std::min(ranges[slot].low, low[piece][slot]);
      ranges[slot].high = std::max(ranges[slot].high, high[piece][slot]);
    }
  return ranges;
}

}  // namespace

// Like that of weights, but over rows; global scales are not known to it.
void ActivationRange::search(MatrixView<const float> batch, std::vector<Range>& ranges, int threads) const {
  const GridSearch grid(observer_.search, {.numbers = numbers_of(args_), .symmetric = args_.symmetric});
  const auto slots = std::ssize(ranges), size = batch.cols / slots;
  const auto steps = static_cast<size_t>(grid.steps());
  std::vector<Affine> candidates(ranges.size() * steps);
  const auto of_slot = [&](auto& all, size_t slot) { return std::span(all).subspan(slot * steps, steps); };
  for (size_t slot = 0; slot < ranges.size(); ++slot)
    grid.candidates(with_zero(ranges[slot], args_.symmetric), of_slot(candidates, slot));
  std::vector<std::vector<double>> errors(pieces_of(batch));
  for_pieces(batch, threads, [&](MatrixView<const float> rows, size_t piece) {
    errors[piece].resize(candidates.size());
    for (int64_t i = 0; i < rows.rows; ++i)
      for (size_t slot = 0; slot < ranges.size(); ++slot)
        grid.add_errors(of_slot(candidates, slot), rows.row(i) + static_cast<int64_t>(slot) * size, size,
                        of_slot(errors[piece], slot).data());
  });
  for (size_t piece = 1; piece < errors.size(); ++piece)
    std::ranges::transform(errors[0], errors[piece], errors[0].begin(), std::plus());
  std::vector<GridSearch::Steps> improvements;
  GridSearch::Steps any;
  for (size_t slot = 0; slot < ranges.size(); ++slot) {
    improvements.push_back(grid.improvements(of_slot(errors[0], slot)));
    any |= improvements.back();
  }
  const GridSearch::Steps tried = grid.tried(any);
  for (size_t slot = 0; slot < ranges.size(); ++slot)
    ranges[slot] = grid.found(ranges[slot], improvements[slot] & tried);
}

std::vector<Range> ActivationRange::of(MatrixView<const float> batch, int64_t slots, int threads) const {
  if (batch.rows == 0) return {};
  std::vector<Range> ranges = ranges_of(batch, slots, threads);
  if (!ranges.empty() && observer_.search.mse) search(batch, ranges, threads);
  return ranges;
}

void ActivationRange::add(std::vector<Range> batch) {
  if (ranges_.empty() || observer_.averaging == Averaging::last) {
    ranges_ = std::move(batch);
    return;
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    const Range old = ranges_[i], now = batch[i];
    const double weight = observer_.averaging_constant;
    ranges_[i] = observer_.averaging == Averaging::all
                     ? Range{std::min(old.low, now.low), std::max(old.high, now.high)}
                     : Range{between(old.low, now.low, weight), between(old.high, now.high, weight)};
  }
}

void ActivationRange::widen(const ActivationRange& other) {
  if (ranges_.empty()) ranges_ = other.ranges_;
  for (size_t i = 0; i < other.ranges_.size(); ++i) {
    ranges_[i].low = std::min(ranges_[i].low, other.ranges_[i].low);
    ranges_[i].high = std::max(ranges_[i].high, other.ranges_[i].high);
  }
}

std::vector<std::byte> ActivationRange::global() const {
  float magnitude = 0;
  for (const Range& range : ranges_) magnitude = std::max(magnitude, with_zero(range, true).high);
  const float value = global_scale(DType::F32, magnitude);
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::vector<std::byte>> ActivationRange::stored(DType dtype) const {
  if (args_.strategy == QuantizationStrategy::tensor_group) return {global()};
  const ScaleRule rule{.numbers = numbers_of(args_), .symmetric = args_.symmetric, .dtype = dtype};
  std::vector<float> scales;
  std::vector<std::byte> zeros;
  for (const Range& range : ranges_) {
    const Affine affine = rule.stored(with_zero(range, args_.symmetric));
    scales.push_back(affine.scale);
    zeros.push_back(static_cast<std::byte>(static_cast<int8_t>(affine.zero)));
  }
  std::vector<std::byte> bytes(scales.size() * static_cast<size_t>(info(dtype).bits / 8));
  if (!store(dtype, scales.data(), bytes.data(), std::ssize(scales)))
    throw Error("activations", "have a scale that is infinite as " + std::string(info(dtype).name));
  if (args_.symmetric) return {bytes};
  return {bytes, zeros};
}

}  // namespace spinor
