#include "spinor/runtime/stage.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "spinor/base/error.h"
#include "spinor/runtime/matrices.h"
#include "spinor/runtime/transform_gradient.h"

namespace spinor::runtime {
namespace {

constexpr int64_t kBlockElements = 1 << 14;  // 64 KiB of floats: half of a small L2 cache is left for the rest

struct Scratch {
  std::vector<float> floats, rotated;
  std::vector<double> rotated_double;
  ActivationQuantizer::Scratch quantized;
};

void apply_rows(const Stage& stage, MatrixView<float> x, int64_t first, Scratch& scratch) {
  for (const Rotation& r : stage.rotations) r.multiply_right(x, scratch.rotated);
  if (stage.quantizer) stage.quantizer->apply(x, scratch.quantized, first);
}

// Codes are found in float32, whatever the model computes in.
void apply_rows(const Stage& stage, MatrixView<double> x, int64_t first, Scratch& scratch) {
  for (const Rotation& r : stage.rotations) r.multiply_right(x, scratch.rotated_double);
  if (!stage.quantizer) return;
  scratch.floats.assign(x.data, x.data + x.rows * x.cols);
  stage.quantizer->apply({scratch.floats.data(), x.rows, x.cols}, scratch.quantized, first);
  std::ranges::copy(scratch.floats, x.data);
}

template <typename T>
void apply_rows(const Stage& stage, MatrixView<T> x, int64_t first, Scratch& scratch) {
  scratch.floats.assign(x.data, x.data + x.rows * x.cols);
  apply_rows(stage, MatrixView<float>(scratch.floats.data(), x.rows, x.cols), first, scratch);
  std::ranges::copy(scratch.floats, x.data);
}

template <typename T>
void apply_typed(const Stage& stage, at::Tensor x) {
  const int64_t cols = x.size(-1), rows = x.numel() / cols;
  const int64_t step = std::max<int64_t>(1, kBlockElements / cols);
  T* data = x.data_ptr<T>();
  at::parallel_for(0, (rows + step - 1) / step, 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t first = begin * step; first < std::min(rows, end * step); first += step)
      apply_rows(stage, MatrixView<T>(data + first * cols, std::min(step, rows - first), cols), first, scratch);
  });
}

void apply_elsewhere(const Stage& stage, at::Tensor x) {
  for (const Rotation& r : stage.rotations)
    x.copy_(x.reshape({-1, r.size()}).matmul(tensor_of(r.matrix()).to(x.options())).reshape(x.sizes()));
  if (!stage.quantizer) return;
  const at::Tensor host = x.to(at::kCPU).contiguous();
  apply({{}, stage.quantizer}, host);
  x.copy_(host);
}

}  // namespace

bool Stage::same_as(const Stage& other) const {
  return quantizer == other.quantizer && surrogate == other.surrogate &&
         std::ranges::equal(rotations, other.rotations,
                            [](const Rotation& a, const Rotation& b) { return a.same_as(b); });
}

void apply(const Stage& stage, at::Tensor x) {
  if (stage.empty() || x.numel() == 0) return;
  if (stage.quantizer && stage.quantizer->needs_global()) {
    apply({stage.rotations, {}}, x);
    const auto magnitude = x.abs().max().item<float>();
    if (std::isfinite(magnitude)) apply({{}, stage.quantizer->with_global_of(magnitude)}, x);
    return;  // what is not finite stays as it is, for whoever looks at the logits
  }
  if (!x.is_cpu()) return apply_elsewhere(stage, x);
  switch (x.scalar_type()) {
    case at::kFloat:
      return apply_typed<float>(stage, x);
    case at::kDouble:
      return apply_typed<double>(stage, x);
    case at::kBFloat16:
      return apply_typed<at::BFloat16>(stage, x);
    default:
      return apply_typed<at::Half>(stage, x);
  }
}

at::Tensor through(const Stage& stage, at::Tensor x) {
  if (!x.requires_grad() && !stage.surrogate) {
    apply(stage, x);
    return x;
  }
  if (!x.requires_grad()) apply({stage.rotations, {}}, x);
  if (x.requires_grad())
    for (const Rotation& r : stage.rotations) x = transformed(x.contiguous(), r);
  if (stage.surrogate) return (*stage.surrogate)(x);
  if (stage.quantizer) throw Error("a quantizer of activations", "has no gradient");
  return x;
}

}  // namespace spinor::runtime
