#include "spinor/base/nearest.h"

#include <gtest/gtest.h>

#include <array>

namespace spinor::nearest_test {
namespace {

constexpr std::array<std::string_view, 4> kKeys = {"rotations", "transform_type", "transform_block_size", "seed"};

TEST(Nearest, FindsWhatWasMeant) {
  EXPECT_EQ(nearest_name("rotation", kKeys), "rotations");
  EXPECT_EQ(nearest_name("roattions", kKeys), "rotations");
  EXPECT_EQ(nearest_name("block_size", kKeys), "");
  EXPECT_EQ(nearest_name("transform-type", kKeys), "transform_type");
  EXPECT_EQ(nearest_name("SEED", kKeys), "seed");
  EXPECT_EQ(nearest_name("sed", kKeys), "seed");
}

TEST(Nearest, SuggestsNothingFarFetched) {
  EXPECT_EQ(nearest_name("targets", kKeys), "");
  EXPECT_EQ(nearest_name("", kKeys), "");
  EXPECT_EQ(nearest_name("a", std::array<std::string_view, 1>{"b"}), "");
  EXPECT_EQ(nearest_name(std::string(1'000'000, 'a'), kKeys), "");
}

TEST(Nearest, TheHintNamesOneOrListsAll) {
  EXPECT_EQ(suggest_name("rotation", kKeys), "did you mean 'rotations'?");
  EXPECT_EQ(suggest_name("targets", kKeys), "known: rotations, transform_type, transform_block_size, seed");
  EXPECT_EQ(suggest_name("targets", {}), "");
}

}  // namespace
}  // namespace spinor::nearest_test
