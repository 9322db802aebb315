#include "spinor/quant/activation_range.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "spinor/base/error.h"
#include "spinor/base/nearest.h"
#include "spinor/linalg/convert.h"
#include "spinor/quant/activation.h"

namespace spinor {
namespace {

constexpr std::array<std::string_view, 3> kObservers = {"minmax", "static_minmax", "memoryless_minmax"};

struct AveragingArguments {
  double averaging_constant = 0.01;

  template <class Visitor>
  void fields(Visitor& v) {
    v("averaging_constant", averaging_constant);
  }
};

// As torch.lerp computes it in float.
float between(float a, float b, float weight) {
  return weight < 0.5F ? a + weight * (b - a) : b - (b - a) * (1 - weight);
}

// What the observers see is not always on both sides of 0; what codes are made for is.
Range with_zero(Range range, bool symmetric) {
  range = {std::min(range.low, 0.0F), std::max(range.high, 0.0F)};
  if (symmetric) range.high = std::max(-range.low, range.high), range.low = -range.high;
  return range;
}

}  // namespace

ActivationObserverOptions activation_observer(const QuantizationArgs& args, const Place& place) {
  const std::string name = args.observer.value_or("minmax");
  const auto found = std::ranges::find(kObservers, name);
  if (found == kObservers.end())
    place.fail("the observer " + name + " is not supported for activations",
               suggest_name(name, {kObservers.begin(), kObservers.end()}));
  const Place here = place.key("observer_kwargs");
  const auto kwargs = read_fields<AveragingArguments>(args.observer_kwargs, here);
  if (!(kwargs.averaging_constant > 0 && kwargs.averaging_constant <= 1))
    here.key("averaging_constant").fail("averaging_constant lies between 0 and 1", "use 0.01");
  return {static_cast<ActivationObserver>(found - kObservers.begin()), kwargs.averaging_constant};
}

void ActivationRange::add(std::span<const float> low, std::span<const float> high) {
  const bool first = ranges_.empty();
  ranges_.resize(low.size());
  const auto weight = static_cast<float>(options_.averaging_constant);
  for (size_t i = 0; i < low.size(); ++i) {
    Range& range = ranges_[i];
    if (first || options_.kind == ActivationObserver::memoryless_minmax)
      range = {low[i], high[i]};
    else if (options_.kind == ActivationObserver::static_minmax)
      range = {std::min(range.low, low[i]), std::max(range.high, high[i])};
    else
      range = {between(range.low, low[i], weight), between(range.high, high[i], weight)};
  }
}

std::vector<std::byte> ActivationRange::global() const {
  const float value = global_scale(DType::F32, with_zero(ranges_.front(), true).high);
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
