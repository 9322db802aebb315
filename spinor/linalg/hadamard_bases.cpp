#include "spinor/linalg/hadamard_bases.h"

#include <algorithm>
#include <bit>
#include <string_view>

namespace spinor {
namespace {

enum class Back { none, all, off_diagonal };  // which blocks rotate to the left
struct Base {
  int64_t order, sylvester;
  int border;
  Back back;
  std::vector<std::string_view> rows;
};

const std::vector<Base>& table() {
  static const std::vector<Base> rows = {
#include "spinor/linalg/hadamard_bases.inc"
  };
  return rows;
}

const Base* find(int64_t order) {
  const auto at = std::ranges::find(table(), order, &Base::order);
  return at == table().end() ? nullptr : &*at;
}

int8_t hexadecimal_sign(std::string_view row, int64_t j) {
  const char digit = row[static_cast<size_t>(j / 4)];
  const int value = digit <= '9' ? digit - '0' : digit - 'a' + 10;
  return (value >> (3 - j % 4)) & 1 ? 1 : -1;
}

// Where each block begins, and the order at the end.
std::vector<int64_t> edges(int64_t order, int64_t blocks, int border) {
  const int64_t repeats = border ? blocks / 2 : blocks;
  std::vector<int64_t> at = {0};
  for (int64_t i = 0; i < repeats; ++i) {
    if (border) at.push_back(at.back() + 1);
    at.push_back((i + 1) * (order / repeats));
  }
  return at;
}

SignMatrix develop(const Base& base, int64_t order) {
  const auto blocks = static_cast<int64_t>(base.rows.size());
  const std::vector<int64_t> at = edges(order, blocks, base.border);
  SignMatrix c(order);
  for (size_t bi = 0; bi < base.rows.size(); ++bi) {
    for (size_t bj = 0; bj < base.rows.size(); ++bj) {
      const bool back = base.back == Back::all || (base.back == Back::off_diagonal && bi != bj);
      const int64_t width = at[bj + 1] - at[bj];
      for (int64_t i = 0; i < at[bi + 1] - at[bi]; ++i) {
        const int64_t shift = (back ? i : width - i % width) % width;
        for (int64_t j = 0; j < width; ++j)
          c(at[bi] + i, at[bj] + j) = hexadecimal_sign(base.rows[bi], at[bj] + (j + shift) % width);
      }
    }
  }
  return c;
}

}  // namespace

bool is_peer_base(int64_t order) {
  return find(order) != nullptr;
}

std::optional<SignMatrix> peer_base(int64_t order) {
  const Base* base = find(order);
  if (!base) return std::nullopt;
  const int64_t core_order = order / base->sylvester;
  const SignMatrix core = base->rows.empty() ? *peer_base(core_order) : develop(*base, core_order);
  SignMatrix h(order);
  for (int64_t i = 0; i < order; ++i) {
    for (int64_t j = 0; j < order; ++j) {
      const bool negative = std::popcount(static_cast<uint64_t>((i / core_order) & (j / core_order))) & 1;
      const int8_t sign = core(i % core_order, j % core_order);
      h(i, j) = negative ? static_cast<int8_t>(-sign) : sign;
    }
  }
  return h;
}

}  // namespace spinor
