#include "spinor/quant/pack.h"

#include <bit>
#include <cassert>
#include <cstring>

namespace spinor {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kBytes = 0x00ff00ff00ff00ff, kPairs = 0x0000ffff0000ffff, kFours = 0x00000000ffffffff;

// Eight codes, one a byte, moved together into 8 * bits bits, and back.
constexpr uint64_t squeeze(uint64_t v, int bits) {
  v = (v & kBytes) | ((v & ~kBytes) >> (8 - bits));
  v = (v & kPairs) | ((v & ~kPairs) >> (16 - 2 * bits));
  return (v & kFours) | ((v & ~kFours) >> (32 - 4 * bits));
}

constexpr uint64_t spread(uint64_t v, int bits) {
  const uint64_t four = (uint64_t{1} << (4 * bits)) - 1;
  const uint64_t two = ((uint64_t{1} << (2 * bits)) - 1) * 0x0000000100000001;
  const uint64_t one = ((uint64_t{1} << bits) - 1) * 0x0001000100010001;
  v = (v & four) | (v >> (4 * bits) & four) << 32;
  v = (v & two) | (v >> (2 * bits) & two) << 16;
  return (v & one) | (v >> bits & one) << 8;
}

template <int kBits>
void pack_all(const uint8_t* codes, int64_t n, std::byte* packed) {
  uint64_t v = 0;
  for (; n >= 8; n -= 8, codes += 8, packed += kBits) {
    std::memcpy(&v, codes, 8);
    v = squeeze(v, kBits);
    std::memcpy(packed, &v, kBits);
  }
  if (n == 0) return;
  v = 0;
  std::memcpy(&v, codes, static_cast<size_t>(n));
  v = squeeze(v, kBits);
  std::memcpy(packed, &v, static_cast<size_t>(packed_bytes(n, kBits)));
}

template <int kBits>
void unpack_all(const std::byte* packed, int64_t n, uint8_t* codes) {
  uint64_t v = 0;
  for (; n >= 8; n -= 8, codes += 8, packed += kBits) {
    std::memcpy(&v, packed, kBits);
    v = spread(v, kBits);
    std::memcpy(codes, &v, 8);
  }
  if (n == 0) return;
  v = 0;
  std::memcpy(&v, packed, static_cast<size_t>(packed_bytes(n, kBits)));
  v = spread(v, kBits);
  std::memcpy(codes, &v, static_cast<size_t>(n));
}

constexpr decltype(&pack_all<1>) kPack[] = {pack_all<1>, pack_all<2>, pack_all<3>, pack_all<4>,
                                            pack_all<5>, pack_all<6>, pack_all<7>, pack_all<8>};
constexpr decltype(&unpack_all<1>) kUnpack[] = {unpack_all<1>, unpack_all<2>, unpack_all<3>, unpack_all<4>,
                                                unpack_all<5>, unpack_all<6>, unpack_all<7>, unpack_all<8>};

}  // namespace

void pack_bits(const uint8_t* codes, int64_t n, int bits, std::byte* packed) {
  assert(bits >= 1 && bits <= 8);
  kPack[bits - 1](codes, n, packed);
}

void unpack_bits(const std::byte* packed, int64_t n, int bits, uint8_t* codes) {
  assert(bits >= 1 && bits <= 8);
  kUnpack[bits - 1](packed, n, codes);
}

std::vector<std::byte> pack_columns(std::span<const uint8_t> codes, int64_t rows, int64_t cols, int bits) {
  const int64_t words = packed_word_bytes(rows, bits) / 4;
  std::vector<std::byte> packed(static_cast<size_t>(words * cols * 4));
  std::vector<uint8_t> column(static_cast<size_t>(rows));
  std::vector<std::byte> stream(static_cast<size_t>(words * 4));
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) column[static_cast<size_t>(r)] = codes[static_cast<size_t>(r * cols + c)];
    pack_bits(column.data(), rows, bits, stream.data());
    for (int64_t w = 0; w < words; ++w)
      std::memcpy(&packed[static_cast<size_t>((w * cols + c) * 4)], &stream[static_cast<size_t>(w * 4)], 4);
  }
  return packed;
}

std::vector<uint8_t> unpack_columns(std::span<const std::byte> packed, int64_t rows, int64_t cols, int bits) {
  const int64_t words = packed_word_bytes(rows, bits) / 4;
  assert(std::ssize(packed) == words * cols * 4);
  std::vector<uint8_t> codes(static_cast<size_t>(rows * cols)), column(static_cast<size_t>(rows));
  std::vector<std::byte> stream(static_cast<size_t>(words * 4));
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t w = 0; w < words; ++w)
      std::memcpy(&stream[static_cast<size_t>(w * 4)], &packed[static_cast<size_t>((w * cols + c) * 4)], 4);
    unpack_bits(stream.data(), rows, bits, column.data());
    for (int64_t r = 0; r < rows; ++r) codes[static_cast<size_t>(r * cols + c)] = column[static_cast<size_t>(r)];
  }
  return codes;
}

}  // namespace spinor
