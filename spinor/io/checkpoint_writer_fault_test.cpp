// What a CheckpointWriter survives: kill -9, limits, full and read-only disks.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>
#include <thread>

#include "tests/io/checkpoint_writer_fixture.h"

namespace spinor::checkpoint_writer_fault_test {
namespace {

namespace fs = std::filesystem;
using testing::in_child;
using testing::message_of;
using testing::MountedDirectory;

// kill -9 at random moments, again and again, until a run comes through. The moments get later, so that one does where
// merely starting takes long: under a sanitizer, on a busy machine.
TEST_F(CheckpointWriterTest, KilledRunsEndByteIdentical) {
  const auto expected = undisturbed();
  std::mt19937 random(7);
  int killed = 0;
  for (int round = 0; round < 5; ++round, fs::remove_all(out_)) {
    for (uint32_t latest = 20000; !fs::exists(out_); latest += latest / 16) {  // microseconds
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        const std::string message = message_of([&] {
          CheckpointWriter writer = open();
          write_all(writer);
        });
        ::_exit(message.empty() ? 0 : 1);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random() % latest));
      ::kill(child, SIGKILL);
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      killed += WIFSIGNALED(status);
      ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    }
    EXPECT_EQ(files_of(out_), expected);
    fs::remove_all(partial_);
  }
  EXPECT_GT(killed, 0);
}

TEST_F(CheckpointWriterTest, AFileSizeLimitLeavesNothing) {
  EXPECT_EQ(
      in_child([&]() -> std::string {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{50000, 50000};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return "setrlimit failed";
        return refusal();
      }),
      "out.partial/files/model-00001-of-00003.safetensors: cannot reserve 98.57 KB: File too large; raise the file "
      "size limit (ulimit -f) or write smaller shards");
  EXPECT_EQ(files_of(root_).size(), 3u);  // the model
}

TEST_F(CheckpointWriterTest, AFullDiskLeavesNothing) {
  const std::string text = in_child([&]() -> std::string {
    const MountedDirectory disk("size=128k");
    if (!disk.mounted()) return "skip: " + disk.reason();
    root_ = disk.path(), out_ = disk / "out";
    return refusal() + (fs::is_empty(root_) ? "; nothing left" : "; something left");
  });
  if (text.starts_with("skip")) GTEST_SKIP() << text;
  const size_t free = text.find(", ") + 2, free_end = text.find(" are free");  // depends on the size of pages
  EXPECT_EQ(std::string(text).replace(free, free_end - free, "..."),
            "out.partial/files: needs 262.86 KB, ... are free; free some space or choose a directory on another disk; "
            "nothing left");
}

// The shards fit, what comes later does not.
TEST_F(CheckpointWriterTest, ADiskThatFillsUpLeavesWhatAResumeNeeds) {
  const std::string text = in_child([&]() -> std::string {
    const MountedDirectory disk("size=512k");
    if (!disk.mounted()) return "skip: " + disk.reason();
    root_ = disk.path(), out_ = disk / "out";
    const std::string message = message_of(
        [&] {
          CheckpointWriter writer = open();
          for (int i = 0; i < kTensors; ++i) write_tensor(writer, i);
          writer.add_text("big", std::string(1 << 20, 'x'));
        },
        root_);
    if (fs::exists(out_)) return "out exists";
    CheckpointWriter writer = open();
    return message + " / " + std::to_string(write_all(writer)) + " written again";
  });
  if (text.starts_with("skip")) GTEST_SKIP() << text;
  EXPECT_EQ(text.substr(0, text.find(',')), "out.partial/files/big: cannot reserve 1.05 MB");
  EXPECT_EQ(text.substr(text.find(" / ")), " / 0 written again");
}

TEST_F(CheckpointWriterTest, AReadOnlyTargetIsAnError) {
  const std::string text = in_child([&]() -> std::string {
    const MountedDirectory disk("ro");
    if (!disk.mounted()) return "skip: " + disk.reason();
    root_ = disk.path(), out_ = disk / "out";
    return refusal();
  });
  if (text.starts_with("skip")) GTEST_SKIP() << text;
  EXPECT_EQ(text, "out.partial: cannot create: Read-only file system; choose a directory on a writable file system");
}

TEST_F(CheckpointWriterTest, AMountPointIsNotReplaced) {
  const std::string text = in_child([&]() -> std::string {
    const MountedDirectory disk("size=1m");
    if (!disk.mounted()) return "skip: " + disk.reason();
    out_ = disk.path(), root_ = disk.path().parent_path();
    return refusal({.force = true}).substr(out_.filename().string().size());
  });
  if (text.starts_with("skip")) GTEST_SKIP() << text;
  EXPECT_EQ(text, ": is a mount point, which --force does not replace; choose a directory inside it");
}

}  // namespace
}  // namespace spinor::checkpoint_writer_fault_test
