#include "spinor/learning/rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spinor/io/testing.h"

namespace spinor::learning::rows_test {
namespace {

constexpr int64_t kRows = 20, kWidth = 12;

class RowStoreTest : public ::testing::Test {
 protected:
  // Two buffers, filled in turns; the second is what is asked for.
  Rows filled(int64_t memory, bool keep) {
    RowStore store(RowStore::bytes(3 * kRows, kWidth), memory, directory_ / "rows", keep);
    RowBuffer other = store.buffer(kRows, kWidth), buffer = store.buffer(2 * kRows, kWidth);
    for (int64_t first = 0; first < kRows; first += 5) {
      other.append(at::zeros({5, kWidth}));
      buffer.append(numbers_.narrow(0, first, 5));
    }
    store.sync();
    EXPECT_TRUE(other.rows(kWidth).all().eq(0).all().item<bool>());
    return buffer.rows(kWidth / 2);
  }

  spinor::testing::TemporaryDirectory directory_;
  at::Tensor numbers_ = at::randn({kRows, kWidth});
};

TEST_F(RowStoreTest, AFileGivesWhatMemoryGives) {
  const Rows memory = filled(RowStore::bytes(3 * kRows, kWidth), false), file = filled(0, false);
  EXPECT_FALSE(memory.stored().file);
  EXPECT_TRUE(file.stored().file);
  const at::Tensor expected = numbers_.to(at::kBFloat16).view({-1, kWidth / 2});
  const std::vector<int64_t> some = {0, 3, 3, 17, 2 * kRows - 1};
  for (const Rows& rows : {memory, file}) {
    EXPECT_EQ(rows.count(), 2 * kRows);
    EXPECT_EQ(rows.width(), kWidth / 2);
    EXPECT_TRUE(rows.all().equal(expected));
    EXPECT_TRUE(rows.slice(5, 7).equal(expected.narrow(0, 5, 7)));
    EXPECT_TRUE(rows.gather(some).equal(expected.index_select(0, at::tensor(some, at::kLong))));
  }
}

TEST_F(RowStoreTest, AFileStaysOnlyIfItIsToBeKept) {
  (void)filled(0, false);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  (void)filled(0, true);
  EXPECT_TRUE(std::filesystem::exists(directory_ / "rows"));
}

TEST_F(RowStoreTest, ADiskWithoutRoomIsAnErrorBeforeARowIsWritten) {
  EXPECT_THROW(RowStore(int64_t{1} << 60, 0, directory_ / "rows", true), Error);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

}  // namespace
}  // namespace spinor::learning::rows_test
