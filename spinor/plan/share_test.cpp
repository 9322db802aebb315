#include "spinor/plan/share.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace spinor::share_test {
namespace {

TEST(ShareTest, IsCutWhereBytesAreEqual) {
  const std::vector<ShareItem> items = {{100}, {10}, {10}, {10}, {10}, {60}};
  EXPECT_EQ(share_owners(items, 2), (std::vector<int>{0, 1, 1, 1, 1, 1}));
  EXPECT_EQ(share_owners(items, 1), std::vector<int>(6, 0));
  EXPECT_EQ(share_owners({}, 3), std::vector<int>());
}

TEST(ShareTest, WhatIsFusedHasOneOwner) {
  const std::vector<ShareItem> items = {{50, "qkv"}, {50}, {50, "qkv"}, {50}, {50, "qkv"}};
  const std::vector<int> owners = share_owners(items, 2);
  EXPECT_EQ(owners[0], owners[2]);
  EXPECT_EQ(owners[0], owners[4]);
  EXPECT_EQ(owners[1], 1);
}

// No rank has more than its part and one item.
RC_GTEST_PROP(ShareTest, SharesAreEqualButForOneItem, ()) {
  const auto sizes = *rc::gen::container<std::vector<int64_t>>(rc::gen::inRange<int64_t>(0, 1000));
  const int ranks = *rc::gen::inRange(1, 9);
  std::vector<ShareItem> items;
  int64_t all = 0, largest = 0;
  for (const int64_t bytes : sizes) {
    items.push_back({bytes});
    all += bytes;
    largest = std::max(largest, bytes);
  }
  const std::vector<int> owners = share_owners(items, ranks);
  RC_ASSERT(std::ranges::is_sorted(owners));
  std::vector<int64_t> bytes(static_cast<size_t>(ranks));
  for (size_t i = 0; i < items.size(); ++i) bytes.at(static_cast<size_t>(owners[i])) += items[i].bytes;
  for (const int64_t share : bytes) RC_ASSERT(share <= all / ranks + largest + 1);
}

}  // namespace
}  // namespace spinor::share_test
