#include "spinor/base/error.h"

#include <gtest/gtest.h>

namespace spinor::error_test {
namespace {

TEST(Error, SaysOnWhatWhatAndWhatToDo) {
  const Error error("model.norm", "no Hadamard matrix of order 13696", "use transform_block_size: 128");
  EXPECT_STREQ(error.what(), "model.norm: no Hadamard matrix of order 13696; use transform_block_size: 128");
  EXPECT_EQ(error.subject(), "model.norm");
  EXPECT_EQ(error.problem(), "no Hadamard matrix of order 13696");
  EXPECT_EQ(error.hint(), "use transform_block_size: 128");
}

TEST(Error, WithoutAHintThereIsNoSemicolon) {
  EXPECT_STREQ(Error("config.json", "missing").what(), "config.json: missing");
}

}  // namespace
}  // namespace spinor::error_test
