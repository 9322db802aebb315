#include "spinor/plan/stored_edits.h"

#include <gtest/gtest.h>

namespace spinor::stored_edits_test {
namespace {

std::vector<std::pair<int64_t, int64_t>> runs(const Slice& part, int64_t first, int64_t last) {
  std::vector<std::pair<int64_t, int64_t>> found;
  for_runs(part, first, last, [&](int64_t begin, int64_t end) { found.emplace_back(begin, end); });
  return found;
}

TEST(StoredEdits, RunsAreThoseOfThePartWithinTheRange) {
  const std::vector<std::pair<int64_t, int64_t>> all = {{4, 6}, {10, 12}, {16, 18}};
  EXPECT_EQ(runs({4, 2, 6}, 0, 18), all);
  const std::vector<std::pair<int64_t, int64_t>> cut = {{5, 6}, {10, 11}};
  EXPECT_EQ(runs({4, 2, 6}, 5, 11), cut);
  EXPECT_TRUE(runs({4, 2, 6}, 6, 10).empty());
}

TEST(StoredEdits, ATransposedWeightIsMultipliedOnItsOtherSide) {
  TensorPlan tensor{.name = "w", .shape = {.out = 8, .in = 4, .count = 1, .transposed = true}, .edits = {}};
  const Rotation r = Rotation::hadamard(Hadamard::sylvester(4), {1, -1, 1, 1});
  tensor.edits = {MultiplyRight{r, "R1"}, MultiplyLeft{r, "R2", Slice{4, 4, 8}}};
  const std::vector<Edit> edits = stored_edits(tensor);
  ASSERT_TRUE(std::holds_alternative<MultiplyLeft>(edits[0]));
  EXPECT_TRUE(std::get<MultiplyLeft>(edits[0]).r.same_as(r.transposed()));
  ASSERT_TRUE(std::holds_alternative<MultiplyRight>(edits[1]));
  EXPECT_EQ(std::get<MultiplyRight>(edits[1]).part, (Slice{4, 4, 8}));
  tensor.shape.transposed = false;
  EXPECT_TRUE(std::holds_alternative<MultiplyRight>(stored_edits(tensor)[0]));
}

}  // namespace
}  // namespace spinor::stored_edits_test
