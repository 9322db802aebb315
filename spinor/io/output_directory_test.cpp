#include "spinor/io/output_directory.h"

#include <gtest/gtest.h>

#include "spinor/io/testing.h"

namespace spinor::output_directory_test {
namespace {

namespace fs = std::filesystem;
using testing::message_of;

// The rest of it is tested with CheckpointWriter; these are the two ways to replace a directory by another.
class ReplaceTest : public ::testing::Test {
 protected:
  ReplaceTest() {
    for (const char* name : {"new", "out"}) {
      fs::create_directories(directory_ / name);
      write_text(directory_ / name / "name", name);
    }
  }
  std::string text(const char* name) { return read_text(directory_ / name / "name"); }
  testing::TemporaryDirectory directory_;
};

TEST_F(ReplaceTest, ExchangeSwapsTwoDirectories) {
  if (!exchange(directory_ / "new", directory_ / "out")) GTEST_SKIP() << "this file system cannot exchange";
  EXPECT_EQ(text("out"), "new");
  EXPECT_EQ(text("new"), "out");
  EXPECT_FALSE(exchange(directory_ / "new", directory_ / "none"));
}

TEST_F(ReplaceTest, TwoRenamesMoveTheOldOneAside) {
  rename_twice(directory_ / "new", directory_ / "out", directory_ / "aside");
  EXPECT_EQ(text("out"), "new");
  EXPECT_EQ(text("aside"), "out");
  EXPECT_FALSE(fs::exists(directory_ / "new"));
}

TEST_F(ReplaceTest, AFailedSecondRenameTakesTheFirstBack) {
  fs::remove_all(directory_ / "new");
  EXPECT_EQ(message_of([&] { rename_twice(directory_ / "new", directory_ / "out", directory_ / "aside"); },
                       directory_.path()),
            "out: cannot rename new to it: No such file or directory");
  EXPECT_EQ(text("out"), "out");
  EXPECT_FALSE(fs::exists(directory_ / "aside"));
}

TEST_F(ReplaceTest, WhatIsRefusedIsKnownBeforeAnythingIsWritten) {
  const auto refusal = [&](const char* out, bool replace) {
    return message_of([&] { check_output(directory_ / out, directory_ / "new", replace); }, directory_.path());
  };
  EXPECT_EQ(refusal("out", false), "out: exists; choose another output directory, or pass --force to replace it");
  EXPECT_EQ(refusal("out", true).substr(0, 53), "out: is not a checkpoint (no config.json), which --fo");
  EXPECT_EQ(refusal("none/out", false), "none: no such directory; create it first");
  EXPECT_EQ(refusal("new/out", false), "new/out: lies inside the model new; choose another output directory");
  EXPECT_EQ(refusal("free", false), "");
  EXPECT_FALSE(fs::exists(directory_ / "free.partial"));
}

}  // namespace
}  // namespace spinor::output_directory_test
