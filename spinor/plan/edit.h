// What may happen to one tensor. A closed set: printing and execution are both exhaustive.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "spinor/linalg/rotation.h"

namespace spinor {

// W (rows, cols) is a tensor as a matrix; a bias or norm weight is one row. `label` is what describe() prints: "R1".

// W <- W diag(g + offset), g the source's tensor `norm`: "model.layers.0.input_layernorm.weight".
struct FoldNorm {
  std::string norm;
  double offset = 0;
};
// Each row minus its mean.
struct CenterRows {};
// W <- W blockdiag(r).
struct MultiplyRight {
  Rotation r;
  std::string label;
};
// W <- blockdiag(r) W.
struct MultiplyLeft {
  Rotation r;
  std::string label;
};
// Every element. A folded norm becomes 1 - offset.
struct Fill {
  double value = 0;
};
using Edit = std::variant<FoldNorm, CenterRows, MultiplyRight, MultiplyLeft, Fill>;

// One phrase: "fold input_layernorm", "center rows", "W R1", "R2' W (8 blocks of 64)", "b R1", "fill 1".
std::string describe(const Edit& edit, int64_t rows, int64_t cols);

}  // namespace spinor
