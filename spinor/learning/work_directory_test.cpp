#include "spinor/learning/work_directory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "spinor/io/testing.h"

namespace spinor::learning::work_directory_test {
namespace {

namespace fs = std::filesystem;

const Json kJob = {{"tokens", "digest"}}, kOther = {{"tokens", "another"}};

class WorkDirectoryTest : public ::testing::Test {
 protected:
  fs::path file() const { return directory_ / "r.safetensors"; }
  fs::path partial() const { return directory_ / "r.safetensors.partial"; }

  spinor::testing::TemporaryDirectory directory_;
};

TEST_F(WorkDirectoryTest, GivesALaterRunOfTheJobWhatItKept) {
  const at::Tensor rotation = at::randn({3, 3}, at::kDouble), moments = at::randn({3, 2});
  {
    WorkDirectory work(file(), kJob);
    EXPECT_FALSE(work.find("R1"));
    work.save("R1", {.tensors = {{"rotation", rotation.t()}, {"moments", moments}}, .json = {0.1, 1e-300}});
  }
  WorkDirectory work(file(), kJob);
  const Snapshot found = work.find("R1").value();
  EXPECT_TRUE(found.tensors.at("rotation").equal(rotation.t()));
  EXPECT_TRUE(found.tensors.at("moments").equal(moments));
  EXPECT_EQ(found.json[0].get<double>(), 0.1);
  EXPECT_EQ(found.json[1].get<double>(), 1e-300);
  work.drop("R1");
  EXPECT_FALSE(work.find("R1"));
}

TEST_F(WorkDirectoryTest, OfAnotherJobIsEmptied) {
  {
    WorkDirectory work(file(), kJob);
    work.save("R1", {});
    write_text(work.path("rows"), "1234");
  }
  WorkDirectory work(file(), kOther);
  EXPECT_FALSE(work.find("R1"));
  EXPECT_FALSE(fs::exists(work.path("rows")));
}

TEST_F(WorkDirectoryTest, IsOfOneRunAtATime) {
  const WorkDirectory first(file(), kJob);
  for (const Json& job : {kJob, kOther})
    EXPECT_EQ(spinor::testing::message_of([&] { WorkDirectory(file(), job); }, directory_.path()),
              "r.safetensors.partial: another run (process " + std::to_string(getpid()) +
                  ") is writing it; wait for it or stop it first");
}

TEST_F(WorkDirectoryTest, WithoutSnapshotsIsDeleted) {
  {
    WorkDirectory work(file(), kJob);
    write_text(work.path("rows"), "half of them");
  }
  EXPECT_FALSE(fs::exists(partial()));
  {
    WorkDirectory work(file(), kJob);
    work.save("R1", {});
    work.clear();
  }
  EXPECT_FALSE(fs::exists(partial()));
}

TEST_F(WorkDirectoryTest, LeavesADirectoryOfTheUserAlone) {
  fs::create_directories(partial());
  write_text(partial() / "precious", "old");
  EXPECT_THROW(WorkDirectory(file(), kJob), Error);
  EXPECT_EQ(read_text(partial() / "precious"), "old");
  fs::remove(partial() / "precious");
  write_text(partial() / "learning-job.json.tmp", "{");  // killed when it had just begun
  EXPECT_NO_THROW(WorkDirectory(file(), kJob));
}

TEST_F(WorkDirectoryTest, ANumberIsFoundOnceUnlessItIsNotFinite) {
  WorkDirectory work(file(), kJob);
  int calls = 0;
  const auto number = [&](const std::string& name, double value) {
    return once(&work, name, [&] {
      ++calls;
      return value;
    });
  };
  EXPECT_EQ(number("a", 0.1), 0.1);
  EXPECT_EQ(number("a", 7), 0.1);
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(std::isnan(number("b", NAN)));
  EXPECT_EQ(number("b", 7), 7);
}

}  // namespace
}  // namespace spinor::learning::work_directory_test
