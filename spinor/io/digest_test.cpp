#include "spinor/io/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace spinor::digest_test {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// printf '' | xxh128sum; printf abc | xxh128sum (xxHash 0.8)
TEST(Digest, IsTheTextXxh128sumPrints) {
  EXPECT_EQ(digest({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(digest(bytes("abc")), "06b05ab6733a618578af5f94892f3950");
}

TEST(Digest, PiecesGiveTheDigestOfTheWhole) {
  std::vector<std::byte> data(10000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * i % 253);
  for (const size_t piece : {1, 7, 255, 4096, 20000}) {
    Digest pieces;
    for (size_t at = 0; at < data.size(); at += piece)
      pieces.update(std::span(data).subspan(at, std::min(piece, data.size() - at)));
    EXPECT_EQ(pieces.hex(), digest(data)) << piece;
  }
}

TEST(Digest, EveryByteCounts) {
  std::vector<std::byte> data(1000);
  const std::string before = digest(data);
  for (const size_t i : {0, 1, 500, 999}) {
    data[i] = std::byte{1};
    EXPECT_NE(digest(data), before) << i;
    data[i] = std::byte{0};
  }
}

TEST(RowDigest, DoesNotDependOnTheOrderOrTheGroupingOfTheRows) {
  std::vector<std::byte> bytes(60);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7);
  const std::span<const std::byte> all(bytes);
  RowDigest whole, parts, rest;
  whole.add(0, 10, all);
  parts.add(4, 10, all.subspan(40));
  rest.add(0, 10, all.first(10));
  rest.add(1, 10, all.subspan(10, 30));
  parts.add(rest);
  EXPECT_EQ(whole.hex(), parts.hex());
  EXPECT_EQ(parts.rows(), 6);
}

TEST(RowDigest, ChangesWithAnyByteAndWithTheOrderOfTheContents) {
  std::vector<std::byte> bytes(60);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  const auto hex = [&] {
    RowDigest digest;
    digest.add(0, 10, bytes);
    return digest.hex();
  };
  const std::string before = hex();
  std::swap_ranges(bytes.begin(), bytes.begin() + 10, bytes.begin() + 30);
  EXPECT_NE(hex(), before);
  std::swap_ranges(bytes.begin(), bytes.begin() + 10, bytes.begin() + 30);
  EXPECT_EQ(hex(), before);
  bytes[59] ^= std::byte{1};
  EXPECT_NE(hex(), before);
}

}  // namespace
}  // namespace spinor::digest_test
