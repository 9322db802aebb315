#include "spinor/calibration/recorder.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace spinor::calibration {

thread_local Recorder::Recording* Recorder::Recording::current = nullptr;

at::Tensor Recorder::copy_of(const at::Tensor& x) {
  auto& copies = Recording::current->copies;
  const auto found = std::ranges::find_if(copies, [&](const auto& copy) { return copy.first.is_same(x); });
  return found != copies.end() ? found->second : copies.emplace_back(x, x.clone()).second;
}

void Recorder::linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) {
  if (!Recording::current) return collector_.linear(linear, x, y);
  const bool output = y.defined() && collector_.wants(linear.name, "output");
  if (!output && !collector_.wants(linear.name, "input")) return;
  Recording::current->sample.push_back({&linear, "", copy_of(x), output ? y.clone() : at::Tensor()});
}

void Recorder::cache(const std::string& attention, const at::Tensor& keys, const at::Tensor& values) {
  if (!Recording::current) return collector_.cache(attention, keys, values);
  if (collector_.wants(attention, "k") || collector_.wants(attention, "v"))
    Recording::current->sample.push_back({nullptr, attention, keys.clone(), values.clone()});
}

void Recorder::replay(const Sample& sample) {
  for (const Seen& seen : sample)
    if (seen.linear)
      collector_.linear(*seen.linear, seen.first, seen.second);
    else
      collector_.cache(seen.attention, seen.first, seen.second);
}

}  // namespace spinor::calibration
