// XXH3-128, the digest that tells whether bytes are still the ones that were written. Not a cryptographic one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace spinor {

// Digests bytes as they come, several GB/s on one core.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  // 32 lower-case hexadecimal digits of all bytes so far, as `xxh128sum` prints them.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string digest(std::span<const std::byte> bytes);

// Digest of a tensor that does not care in which order its rows come: XXH3-128 of each row, seeded with its number,
// added up. So what passes through memory anyway need not be read again to be digested.
class RowDigest {
 public:
  // Rows first_row, first_row + 1, ... of row_bytes each.
  void add(int64_t first_row, int64_t row_bytes, std::span<const std::byte> rows);
  void add(const RowDigest& other);
  int64_t rows() const { return rows_; }  // added so far
  std::string hex() const;

 private:
  uint64_t low_ = 0, high_ = 0;
  int64_t rows_ = 0;
};

}  // namespace spinor
