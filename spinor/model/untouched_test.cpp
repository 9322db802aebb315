#include "spinor/model/untouched.h"

#include <gtest/gtest.h>

namespace spinor::untouched_test {
namespace {

TEST(Untouched, ANumberStandsForDigits) {
  EXPECT_TRUE(matches_numbers("blocks.{N}.attn.qkv", "blocks.12.attn.qkv"));
  EXPECT_TRUE(matches_numbers("a.{N}.b.{N}", "a.0.b.31"));
  EXPECT_TRUE(matches_numbers("proj", "proj"));
  EXPECT_FALSE(matches_numbers("blocks.{N}.attn.qkv", "blocks..attn.qkv"));
  EXPECT_FALSE(matches_numbers("blocks.{N}.attn.qkv", "blocks.1.attn.qkv.0"));
  EXPECT_FALSE(matches_numbers("a.{N}", "a.x"));
  EXPECT_FALSE(matches_numbers("proj", "proj.0"));
}

}  // namespace
}  // namespace spinor::untouched_test
