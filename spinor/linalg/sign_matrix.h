// A square matrix of signs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spinor {

struct SignMatrix {
  int64_t order = 0;
  std::vector<int8_t> signs;  // order * order, row-major, +1 or -1

  SignMatrix() = default;
  explicit SignMatrix(int64_t n) : order(n), signs(static_cast<size_t>(n * n), 1) {}
  int8_t operator()(int64_t i, int64_t j) const { return signs[static_cast<size_t>(i * order + j)]; }
  int8_t& operator()(int64_t i, int64_t j) { return signs[static_cast<size_t>(i * order + j)]; }
};

}  // namespace spinor
