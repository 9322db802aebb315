// Codes of 1 to 8 bits as a dense little-endian bit stream: code k takes bits [k * bits, (k + 1) * bits).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace spinor {

// Bytes of n codes; the last one is filled up with zeros.
constexpr int64_t packed_bytes(int64_t n, int bits) {
  return (n * bits + 7) / 8;
}
// Bytes of n codes in whole 32-bit words.
constexpr int64_t packed_word_bytes(int64_t n, int bits) {
  return (n * bits + 31) / 32 * 4;
}

// codes[i] < 2^bits. Writes packed_bytes(n, bits) bytes.
void pack_bits(const uint8_t* codes, int64_t n, int bits, std::byte* packed);
void unpack_bits(const std::byte* packed, int64_t n, int bits, uint8_t* codes);

// Zero points (rows, cols), each offset to be unsigned, packed along the columns: word i of a column holds what
// consecutive rows have there. The result is row-major words (ceil(rows * bits / 32), cols), and the way back.
std::vector<std::byte> pack_columns(std::span<const uint8_t> codes, int64_t rows, int64_t cols, int bits);
std::vector<uint8_t> unpack_columns(std::span<const std::byte> packed, int64_t rows, int64_t cols, int bits);

}  // namespace spinor
