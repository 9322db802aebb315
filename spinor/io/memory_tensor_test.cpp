#include "spinor/io/memory_tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "spinor/base/error.h"

namespace spinor::memory_tensor_test {
namespace {

MemoryTensor floats(std::vector<float>& memory, std::vector<int64_t> shape, std::vector<int64_t> strides) {
  for (int64_t& stride : strides) stride *= 4;
  return MemoryTensor::of("x", DType::F32, std::move(shape), reinterpret_cast<std::byte*>(memory.data()),
                          std::move(strides));
}

// (2, 3, 4) in rows 5 apart, matrices 20 apart; ranges that begin and end anywhere.
TEST(MemoryTensor, RowsMayBeAnyDistanceApart) {
  std::vector<float> memory(40);
  std::iota(memory.begin(), memory.end(), 0.0F);
  const MemoryTensor tensor = floats(memory, {2, 3, 4}, {20, 5, 1});
  std::vector<float> expected;
  for (int m : {0, 20})
    for (int r : {0, 5, 10})
      for (int c = 0; c < 4; ++c) expected.push_back(static_cast<float>(m + r + c));
  for (size_t begin = 0; begin < 24; begin += 5)
    for (size_t end = begin; end <= 24; end += 3) {
      std::vector<float> some(end - begin);
      tensor.read(static_cast<int64_t>(begin) * 4, std::as_writable_bytes(std::span(some)));
      EXPECT_EQ(some, std::vector<float>(expected.begin() + static_cast<int64_t>(begin),
                                         expected.begin() + static_cast<int64_t>(end)));
    }
  const std::vector<float> three = {-1, -2, -3};
  tensor.write(11 * 4, std::as_bytes(std::span(three)));  // the end of the first matrix and the begin of the second
  EXPECT_EQ(memory[13], -1);
  EXPECT_EQ(memory[20], -2);
  EXPECT_EQ(memory[21], -3);
  EXPECT_EQ(memory[14], 14);
}

// Rows and columns of it in one copy, whatever else row by row; the same bytes as of a tensor that lies here.
TEST(MemoryTensor, WhatLiesElsewhereIsCopiedByTiles) {
  std::vector<float> memory(40);
  std::iota(memory.begin(), memory.end(), 0.0F);
  const MemoryTensor here = floats(memory, {2, 3, 4}, {20, 5, 1});
  MemoryTensor elsewhere = here;
  int copies = 0;
  elsewhere.data = nullptr;
  elsewhere.copy = [&](const MemoryTile& tile, std::byte* host, bool to_host) {
    const ByteRows rows{tile.row * 16 + tile.begin, tile.rows, tile.width, 16};
    const std::span bytes(host, static_cast<size_t>(tile.rows * tile.width));
    to_host ? here.read(rows, bytes) : here.write(rows, bytes);
    ++copies;
  };
  for (const auto& [rows, expected] : std::vector<std::pair<ByteRows, int>>{
           {{.begin = 0, .rows = 6, .width = 16, .stride = 16}, 1},     // all
           {{.begin = 24, .rows = 5, .width = 8, .stride = 16}, 1},     // columns
           {{.begin = 8, .rows = 1, .width = 64, .stride = 64}, 3},     // a row begun, three, one not ended
           {{.begin = 0, .rows = 2, .width = 20, .stride = 32}, 4}}) {  // of wider rows
    std::vector<std::byte> one(static_cast<size_t>(rows.rows * rows.width)), other(one.size());
    here.read(rows, one);
    copies = 0;
    elsewhere.read(rows, other);
    EXPECT_EQ(copies, expected);
    EXPECT_EQ(one, other);
    std::ranges::reverse(one);
    elsewhere.write(rows, one);
    here.read(rows, other);
    EXPECT_EQ(one, other);
  }
}

TEST(MemoryTensor, AScalarAndAnEmptyOneAreTensors) {
  std::vector<float> memory = {7};
  float x = 0;
  floats(memory, {}, {}).read(0, std::as_writable_bytes(std::span(&x, 1)));
  EXPECT_EQ(x, 7);
  EXPECT_EQ(floats(memory, {0, 4}, {4, 1}).info.bytes(), 0);
}

TEST(MemoryTensor, WhatNoRowsAreIsRefused) {
  std::vector<float> memory(16);
  EXPECT_THROW(floats(memory, {4, 4}, {1, 4}), Error);   // transposed
  EXPECT_THROW(floats(memory, {2, 4}, {2, 1}), Error);   // overlapping
  EXPECT_THROW(floats(memory, {2, 4}, {-4, 1}), Error);  // backwards
  EXPECT_THROW(floats(memory, {2, 4}, {1}), Error);
}

}  // namespace
}  // namespace spinor::memory_tensor_test
