// From the range of a group to its scale and zero point.
#pragma once

#include "spinor/base/dtype.h"
#include "spinor/quant/round.h"
#include "spinor/quant/weight_layout.h"

namespace spinor {

// What a group's values lie in: low <= 0 <= high. Symmetric codes know the largest magnitude only: low = -high.
struct Range {
  float low = 0, high = 0;
};

struct ScaleRule {
  Numbers numbers;  // numbers.arithmetic is that of scales and zero points, too
  bool symmetric = true;
  ScaleStorage storage = ScaleStorage::plain;
  DType dtype = DType::F32;  // of a plain scale; what it is rounded to
  float global = 1;          // of e4m3: stored scale / global is what codes are multiplied by

  bool operator==(const ScaleRule&) const = default;

  // The scale as it is stored, and the zero point. Never 0; infinite if the dtype cannot hold it.
  Affine stored(Range range) const;
  // What codes stand for.
  Affine affine(Range range) const;
};

// That of a tensor whose largest magnitude this is, for e4m3 scales: such that the largest of them is 448.
float global_scale(DType arithmetic, float magnitude);

}  // namespace spinor
