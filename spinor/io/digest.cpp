#include "spinor/io/digest.h"

#include <xxhash.h>

#include <new>

namespace spinor {
namespace {

std::string hex_of(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;  // big endian: the order in which the number is printed
  XXH128_canonicalFromHash(&canonical, hash);
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

struct Digest::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() {
    if (!xxh) throw std::bad_alloc();
    XXH3_128bits_reset(xxh);
  }
  ~State() { XXH3_freeState(xxh); }
};

Digest::Digest() : state_(std::make_unique<State>()) {}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}

std::string Digest::hex() const {
  return hex_of(XXH3_128bits_digest(state_->xxh));
}

std::string digest(std::span<const std::byte> bytes) {
  return hex_of(XXH3_128bits(bytes.data(), bytes.size()));
}

void RowDigest::add(int64_t first_row, int64_t row_bytes, std::span<const std::byte> rows) {
  for (; !rows.empty(); rows = rows.subspan(static_cast<size_t>(row_bytes)), ++rows_) {
    const XXH128_hash_t hash =
        XXH3_128bits_withSeed(rows.data(), static_cast<size_t>(row_bytes), static_cast<XXH64_hash_t>(first_row++));
    low_ += hash.low64;
    high_ += hash.high64;
  }
}

void RowDigest::add(const RowDigest& other) {
  low_ += other.low_;
  high_ += other.high_;
  rows_ += other.rows_;
}

std::string RowDigest::hex() const {
  return hex_of({low_, high_});
}

}  // namespace spinor
