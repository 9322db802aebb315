#include "spinor/io/memory_tensor.h"

#include <gtest/gtest.h>

#include <numeric>

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
