#include "spinor/base/dtype.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace spinor::dtype_test {
namespace {

TEST(DType, EveryRowStandsAtItsValueAndIsFoundByItsSpellings) {
  std::set<std::string_view> names;
  for (const DTypeInfo& row : dtypes()) {
    EXPECT_EQ(&info(row.dtype), &row) << row.name;
    EXPECT_EQ(find_dtype(row.name), &row) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    if (row.torch.empty()) continue;
    EXPECT_EQ(find_dtype(row.torch), &row) << row.torch;
    EXPECT_EQ(find_dtype("torch." + std::string(row.torch)), &row) << row.torch;
  }
}

TEST(DType, SpellingsOfOneType) {
  for (const char* spelling : {"BF16", "bf16", "bfloat16", "torch.bfloat16"}) {
    const DTypeInfo* found = find_dtype(spelling);
    ASSERT_NE(found, nullptr) << spelling;
    EXPECT_EQ(found->dtype, DType::BF16);
    EXPECT_EQ(found->bits, 16);
  }
}

TEST(DType, NeitherTheEmptySpellingNorAnotherLibrarysIsKnown) {
  for (const char* spelling : {"", "torch.", "half", "float", "FLOAT32", "BF16 ", "torch.torch.float32"})
    EXPECT_EQ(find_dtype(spelling), nullptr) << spelling;
}

TEST(DType, EditableMeansSpinorComputesWithIt) {
  std::set<std::string_view> editable;
  for (const DTypeInfo& row : dtypes())
    if (row.editable) editable.insert(row.name);
  EXPECT_EQ(editable, (std::set<std::string_view>{"F64", "F32", "F16", "BF16"}));
}

}  // namespace
}  // namespace spinor::dtype_test
