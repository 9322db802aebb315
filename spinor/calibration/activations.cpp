#include "spinor/calibration/activations.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <unistd.h>

#include <span>

namespace spinor::calibration {

Activations::Activations(int64_t samples, int64_t tokens, int64_t hidden, int64_t memory,
                         const std::filesystem::path& directory)
    : samples_(samples), tokens_(tokens), hidden_(hidden) {
  held_.resize(static_cast<size_t>(samples));
  if (samples * bytes() <= memory) return;
  const std::filesystem::path path = directory / fmt::format(".spinor-activations-{}", getpid());
  file_ = File::create(path, samples * bytes());
  with_system_errors([&] { std::filesystem::remove(path); });
}

at::Tensor Activations::load(int64_t sample) const {
  if (!file_) return held_[static_cast<size_t>(sample)].clone();
  at::Tensor x = at::empty({1, tokens_, hidden_}, at::kFloat);
  file_->read(sample * bytes(), std::as_writable_bytes(std::span(x.data_ptr<float>(), static_cast<size_t>(x.numel()))));
  return x;
}

void Activations::store(int64_t sample, const at::Tensor& x) {
  const at::Tensor rows = x.to(at::kCPU, at::kFloat).contiguous();
  if (!file_) {
    held_[static_cast<size_t>(sample)] = rows;
    return;
  }
  const auto values = std::span(rows.const_data_ptr<float>(), static_cast<size_t>(rows.numel()));
  file_->write(sample * bytes(), std::as_bytes(values));
}

}  // namespace spinor::calibration
