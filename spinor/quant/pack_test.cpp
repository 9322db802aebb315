#include "spinor/quant/pack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace spinor::pack_test {
namespace {

std::vector<uint8_t> random_codes(int64_t n, int bits, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<uint8_t> codes(static_cast<size_t>(n));
  for (uint8_t& code : codes) code = static_cast<uint8_t>(engine() & ((1u << bits) - 1));
  return codes;
}

// Bit by bit, as the format is defined.
std::vector<std::byte> packed_by_definition(const std::vector<uint8_t>& codes, int bits) {
  std::vector<std::byte> packed(static_cast<size_t>(packed_bytes(std::ssize(codes), bits)));
  for (size_t k = 0; k < codes.size() * static_cast<size_t>(bits); ++k)
    if ((codes[k / static_cast<size_t>(bits)] >> (k % static_cast<size_t>(bits)) & 1) != 0)
      packed[k / 8] |= static_cast<std::byte>(1 << (k % 8));
  return packed;
}

TEST(Pack, MakesOneBitStreamOfAnyWidthAndLength) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (int64_t n = 0; n <= 100; ++n) {
      const auto codes = random_codes(n, bits, static_cast<uint32_t>(n));
      std::vector<std::byte> packed(static_cast<size_t>(packed_bytes(n, bits)) + 1, std::byte{0xa5});
      pack_bits(codes.data(), n, bits, packed.data());
      ASSERT_EQ(packed.back(), std::byte{0xa5}) << "wrote beyond the end";
      packed.pop_back();
      ASSERT_EQ(packed, packed_by_definition(codes, bits)) << n << " codes of " << bits;
      std::vector<uint8_t> back(codes.size());
      unpack_bits(packed.data(), n, bits, back.data());
      ASSERT_EQ(back, codes);
    }
  }
}

TEST(Pack, HasTheWordsThatOtherReadersKnow) {
  const auto word = [](std::vector<int> values, int bits) {
    std::vector<uint8_t> codes;
    for (const int value : values) codes.push_back(static_cast<uint8_t>(value + (1 << (bits - 1))));
    uint32_t packed = 0;
    pack_bits(codes.data(), std::ssize(codes), bits, reinterpret_cast<std::byte*>(&packed));
    return packed;
  };
  EXPECT_EQ(word({-8, -7, -6, -5, -4, -3, -2, -1}, 4), 0x76543210u);
  EXPECT_EQ(word({0, 1, 2, 3, 4, 5, 6, 7}, 4), 0xfedcba98u);
  EXPECT_EQ(word({-128, -127, 0, 127}, 8), 0xff800100u);
}

TEST(Pack, WordsAreCountedUp) {
  EXPECT_EQ(packed_word_bytes(545, 3), 4 * 52);
  EXPECT_EQ(packed_word_bytes(32, 3), 12);
  EXPECT_EQ(packed_word_bytes(33, 4), 20);
}

TEST(Pack, ColumnsShareWordsDownTheRows) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {9, 2}, {33, 7}, {64, 1}, {130, 3}}) {
      const auto codes = random_codes(rows * cols, bits, static_cast<uint32_t>(rows));
      const auto packed = pack_columns(codes, rows, cols, bits);
      ASSERT_EQ(std::ssize(packed), packed_word_bytes(rows, bits) * cols);
      ASSERT_EQ(unpack_columns(packed, rows, cols, bits), codes);
      std::vector<uint8_t> last(static_cast<size_t>(rows));
      for (int64_t r = 0; r < rows; ++r) last[static_cast<size_t>(r)] = codes[static_cast<size_t>(r * cols + cols - 1)];
      const auto stream = packed_by_definition(last, bits);
      for (size_t i = 0; i < stream.size(); ++i)
        ASSERT_EQ(packed[(i / 4 * static_cast<size_t>(cols) + static_cast<size_t>(cols) - 1) * 4 + i % 4], stream[i]);
    }
  }
}

}  // namespace
}  // namespace spinor::pack_test
