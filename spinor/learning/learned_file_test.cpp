#include "spinor/learning/learned_file.h"

#include <gtest/gtest.h>

#include "spinor/io/file.h"
#include "spinor/io/testing.h"
#include "spinor/transform/given_rotations.h"
#include "tests/golden/golden.h"

namespace spinor::learning::learned_file_test {
namespace {

const Json kJob = {{"tokens", "digest"}, {"threads", 2}};

LearnedRotations some(int64_t n) {
  LearnedRotations learned;
  learned.seed = 7;
  learned.rotations["R1"] = Rotation::hadamard(Hadamard::sylvester(n)).matrix();
  learned.record = {{"objective", "psot"}};
  learned.warnings = {"R2: the start is kept"};
  return learned;
}

TEST(LearnedFile, IsWhatRotationsAreReadFrom) {
  const spinor::testing::TemporaryDirectory directory;
  const Model model = golden::model("transforms/llama");
  write_learned(directory / "r.safetensors", some(model.hidden_size()), kJob);
  const auto found = find_learned(directory / "r.safetensors", kJob);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->seed, 7U);
  EXPECT_FALSE(found->empty);
  EXPECT_EQ(found->record, some(2).record);
  EXPECT_EQ(found->warnings, some(2).warnings);
  const GivenRotations given = read_rotations(directory / "r.safetensors", model, found->digest);
  EXPECT_EQ(given.groups.at("R1").at(kEveryLayer).size(), model.hidden_size());
}

TEST(LearnedFile, OfAnotherJobIsNotTaken) {
  const spinor::testing::TemporaryDirectory directory;
  EXPECT_FALSE(find_learned(directory / "r.safetensors", kJob)) << "there is none";
  write_learned(directory / "r.safetensors", some(16), kJob);
  EXPECT_FALSE(find_learned(directory / "r.safetensors", {{"tokens", "another"}, {"threads", 2}}));
}

TEST(LearnedFile, OfNothingThatIsKeptHasNoTensors) {
  const spinor::testing::TemporaryDirectory directory;
  write_learned(directory / "r.safetensors", {}, kJob);
  EXPECT_TRUE(find_learned(directory / "r.safetensors", kJob).value().empty);
}

}  // namespace
}  // namespace spinor::learning::learned_file_test
