#include "spinor/io/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"

namespace spinor::file_test {
namespace {

using testing::in_child;
using testing::message_of;
using testing::MountedDirectory;
using testing::TemporaryDirectory;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(File, WhatTheSystemRefusesHasItsNumber) {
  const TemporaryDirectory directory;
  try {
    File::open(directory / "none");
    FAIL();
  } catch (const SystemError& error) {
    EXPECT_EQ(error.number(), ENOENT);
  }
}

TEST(File, WhatIsWrittenIsReadBack) {
  const TemporaryDirectory directory;
  File file = File::create(directory / "f", 10);
  file.write(7, bytes("abc"));
  file.start_writeback(0, 10);
  file.sync();
  file.drop_cache(0, 10);
  EXPECT_EQ(file.bytes(), 10);
  EXPECT_EQ(read_text(directory / "f"), std::string(7, '\0') + "abc");
}

TEST(File, CreateKeepsBytesAndSetsTheSize) {
  const TemporaryDirectory directory;
  write_text(directory / "f", "abcdef");
  EXPECT_EQ(File::create(directory / "f", 3).bytes(), 3);
  EXPECT_EQ(File::create(directory / "f", 5).bytes(), 5);
  EXPECT_EQ(read_text(directory / "f"), std::string("abc\0\0", 5));
  EXPECT_EQ(File::create(directory / "f", 0).bytes(), 0);
}

TEST(File, CreateReservesTheSpace) {
  const TemporaryDirectory directory;
  const File file = File::create(directory / "f", 1 << 20);
  struct stat status;
  ASSERT_EQ(stat(file.path().c_str(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 1 << 20);
}

TEST(File, AFileThatBecameShorterIsAnError) {
  const TemporaryDirectory directory;
  write_text(directory / "f", "abcdef");
  const File file = File::open(directory / "f");
  std::filesystem::resize_file(directory / "f", 4);
  std::vector<std::byte> out(6);
  EXPECT_EQ(message_of([&] { file.read(0, out); }, directory.path()),
            "f: ends at byte 4, cannot read 2 bytes at byte 4; it became shorter while it was read, or is truncated");
}

TEST(File, ErrorsCarryPathAndReason) {
  const TemporaryDirectory directory;
  EXPECT_EQ(message_of([&] { File::open(directory / "none"); }, directory.path()),
            "none: cannot open: No such file or directory");
  EXPECT_EQ(message_of([&] { File::create(directory / "none/f", 1); }, directory.path()),
            "none/f: cannot create: No such file or directory");
  write_text(directory / "f", "abc");
  File file = File::open(directory / "f");
  EXPECT_EQ(message_of([&] { file.write(0, bytes("x")); }, directory.path()),
            "f: cannot write 1 bytes at byte 0: Bad file descriptor");
}

TEST(File, OnlyRegularFilesAreOpened) {
  const TemporaryDirectory directory;
  ASSERT_EQ(mkfifo((directory / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(message_of([&] { File::open(directory / "fifo"); }, directory.path()), "fifo: is not a regular file");
  EXPECT_EQ(message_of([&] { File::open(directory.path()); }, directory.path().parent_path()),
            directory.path().filename().string() + ": is not a regular file");
}

TEST(File, TextsBeyondTheLimitAreRefused) {
  const TemporaryDirectory directory;
  write_text(directory / "f", "abc");
  EXPECT_EQ(message_of([&] { read_text(directory / "f", 2); }, directory.path()), "f: has 3 bytes, the limit is 2");
}

TEST(File, WriteTextReplacesAndLeavesNothingElse) {
  const TemporaryDirectory directory;
  write_text(directory / "f", "a long first text");
  write_text(directory / "f", "short");
  EXPECT_EQ(read_text(directory / "f"), "short");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(File, WriteTextThatFailsLeavesTheOldFileAndNothingElse) {
  const TemporaryDirectory directory;
  write_text(directory / "f", "old");
  EXPECT_EQ(in_child([&]() -> std::string {
              std::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{4096, 4096};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return "setrlimit failed";
              return message_of([&] { write_text(directory / "f", std::string(5000, 'x')); }, directory.path());
            }).substr(0, 29),
            "f.tmp: cannot reserve 5.00 KB");
  std::filesystem::create_directory(directory / "d");
  EXPECT_EQ(message_of([&] { write_text(directory / "d", "x"); }, directory.path()),
            "d: cannot rename into place: Is a directory");
  EXPECT_EQ(read_text(directory / "f"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 2);
}

TEST(File, TheFileSizeLimitIsAnError) {
  const TemporaryDirectory directory;
  EXPECT_EQ(in_child([&]() -> std::string {
              std::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{4096, 4096};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return "setrlimit failed";
              return message_of([&] { File::create(directory / "f", 5000); }, directory.path()) + "\n" +
                     message_of([&] { File::create(directory / "g", 0).write(4096, bytes("x")); }, directory.path());
            }),
            "f: cannot reserve 5.00 KB: File too large; raise the file size limit (ulimit -f) or write smaller shards\n"
            "g: cannot write 1 bytes at byte 4096: File too large; raise the file size limit (ulimit -f) or write "
            "smaller shards");
  EXPECT_FALSE(std::filesystem::exists(directory / "f"));
}

TEST(File, AFullDiskIsAnErrorBeforeAnythingIsWritten) {
  const std::string text = in_child([]() -> std::string {
    const MountedDirectory disk("size=1m");
    if (!disk.mounted()) return "skip: " + disk.reason();
    File::create(disk / "small", 4096).write(0, bytes("kept"));
    const std::string large = message_of([&] { File::create(disk / "large", 2'000'000); }, disk.path());
    const std::string small = message_of([&] { File::create(disk / "small", 2'000'000); }, disk.path());
    return large + (std::filesystem::exists(disk / "large") ? " left behind\n" : " gone\n") + small + " " +
           read_text(disk / "small").substr(0, 4);
  });
  if (text.starts_with("skip")) GTEST_SKIP() << text;
  const std::string reason =
      " MB are free: No space left on device; free some space or choose a directory on another disk";
  EXPECT_EQ(text.substr(0, 34), "large: cannot reserve 2.00 MB, 1.0");
  EXPECT_NE(text.find(reason + " gone\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with(reason + " kept")) << text;
}

TEST(File, AReadOnlyDiskIsAnError) {
  const std::string text = in_child([]() -> std::string {
    const MountedDirectory disk("ro");
    if (!disk.mounted()) return "skip: " + disk.reason();
    return message_of([&] { File::create(disk / "f", 1); }, disk.path());
  });
  if (text.starts_with("skip")) GTEST_SKIP() << text;
  EXPECT_EQ(text, "f: cannot create: Read-only file system; choose a directory on a writable file system");
}

TEST(File, BytesAreDescribedInDecimalUnits) {
  EXPECT_EQ(describe_bytes(999), "999 bytes");
  EXPECT_EQ(describe_bytes(1000), "1.00 KB");
  EXPECT_EQ(describe_bytes(2'470'000'000), "2.47 GB");
  EXPECT_EQ(describe_bytes(INT64_MAX), "9223372.04 TB");
}

}  // namespace
}  // namespace spinor::file_test
