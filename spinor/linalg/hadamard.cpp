#include "spinor/linalg/hadamard.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <optional>
#include <string>

#include "spinor/base/error.h"
#include "spinor/linalg/factored_signs.h"
#include "spinor/linalg/hadamard_bases.h"
#include "spinor/linalg/paley.h"

namespace spinor {
namespace {

constexpr int64_t kMaxBase = 8192;  // a Paley base takes 2 base^2 bytes, and another base^2 while it is planned

int64_t largest_power_of_two(int64_t n) {
  return n & -n;
}

// Orders b with n / b a power of two, ascending.
std::vector<int64_t> base_orders(int64_t n) {
  std::vector<int64_t> orders;
  if (n < 1) return orders;
  for (int64_t b = n / largest_power_of_two(n); b <= std::min(n, kMaxBase); b *= 2) orders.push_back(b);
  return orders;
}

std::optional<int64_t> smallest_base_order(int64_t n) {
  for (const int64_t b : base_orders(n))
    if (is_peer_base(b) || has_paley(b)) return b;
  return std::nullopt;
}

std::optional<int64_t> largest_peer_base_order(int64_t n) {
  std::optional<int64_t> found;
  for (const int64_t b : base_orders(n))
    if (is_peer_base(b)) found = b;
  return found;
}

SignMatrix base_matrix(int64_t order) {
  return is_peer_base(order) ? *peer_base(order) : *paley(order);
}

[[noreturn]] void fail_no_order(int64_t n) {
  int64_t block = 0;
  for (int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    for (const int64_t size : {d, n / d})
      if (size > block && size < n && smallest_base_order(size)) block = size;
  }
  throw Error("size " + std::to_string(n), "no Hadamard matrix of order " + std::to_string(n),
              block > 1 ? "use transform_block_size: " + std::to_string(block) : "");
}

}  // namespace

Hadamard::Hadamard(int64_t order, SignMatrix base)
    : order_(order), base_(std::make_shared<const FactoredSigns>(std::move(base))) {}

Hadamard Hadamard::sylvester(int64_t n) {
  if (n < 1 || largest_power_of_two(n) != n) {
    const std::string block =
        n > 1 && n % 2 == 0 ? ", or transform_block_size: " + std::to_string(largest_power_of_two(n)) : "";
    throw Error("size " + std::to_string(n), "Cannot construct deterministic hadamard of size != 2^n",
                "use transform_type: random-hadamard" + block);
  }
  return Hadamard(n, SignMatrix(1));
}

Hadamard Hadamard::of_order(int64_t n) {
  std::optional<int64_t> base = largest_peer_base_order(n);
  if (!base) base = smallest_base_order(n);
  if (!base) fail_no_order(n);
  return Hadamard(n, base_matrix(*base));
}

Hadamard Hadamard::smallest_base(int64_t n) {
  const std::optional<int64_t> base = smallest_base_order(n);
  if (!base) fail_no_order(n);
  return Hadamard(n, base_matrix(*base));
}

bool Hadamard::exists(int64_t n) {
  return smallest_base_order(n).has_value();
}

int64_t Hadamard::base() const {
  return base_->matrix().order;
}

bool Hadamard::from_peer_table() const {
  // The peer's 32 is Paley's; its other powers of two are Sylvester's, whichever base they are built from.
  if (base_->core_order() == 1) return order_ != 32;
  return largest_peer_base_order(order_) == base();
}

int8_t Hadamard::sign(int64_t i, int64_t j) const {
  const int64_t m = order_ / base();
  const bool negative = std::popcount(static_cast<uint64_t>((i % m) & (j % m))) & 1;
  const int8_t sign = base_->matrix()(i / m, j / m);
  return negative ? static_cast<int8_t>(-sign) : sign;
}

template <typename T>
void Hadamard::rows(MatrixView<T> x, T scale, bool transposed) const {
  assert(x.cols == order_);
  base_->rows(x, scale, transposed);
}

template <typename T>
void Hadamard::columns(MatrixView<T> x, T scale, bool transposed) const {
  assert(x.rows == order_);
  base_->columns(x, scale, transposed);
}

template void Hadamard::rows(MatrixView<float>, float, bool) const;
template void Hadamard::rows(MatrixView<double>, double, bool) const;
template void Hadamard::columns(MatrixView<float>, float, bool) const;
template void Hadamard::columns(MatrixView<double>, double, bool) const;

void hadamard_rows(MatrixView<float> x) {
  Hadamard::smallest_base(x.cols).rows(x, static_cast<float>(1 / std::sqrt(static_cast<double>(x.cols))), false);
}
void hadamard_rows(MatrixView<double> x) {
  Hadamard::smallest_base(x.cols).rows(x, 1 / std::sqrt(static_cast<double>(x.cols)), false);
}

}  // namespace spinor
