#include "spinor/io/checkpoint_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <map>
#include <random>
#include <thread>

#include "spinor/base/parallel.h"
#include "spinor/io/checkpoint.h"
#include "spinor/io/testing.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;
using testing::in_child;
using testing::message_of;
using testing::MountedDirectory;
using testing::TemporaryDirectory;

constexpr int kTensors = 8;
constexpr int64_t kRows = 64, kCols = 256;  // of BF16

std::string name_of(int64_t i) {
  return "tensor." + std::to_string(i);
}

OutputLayout layout() {
  std::vector<TensorInfo> tensors;
  for (int i = 0; i < kTensors; ++i)
    tensors.push_back({.name = name_of(i), .dtype = DType::BF16, .shape = {kRows, kCols}});
  return layout_shards(tensors, 3 * kRows * kCols * 2);  // three shards
}

std::vector<std::byte> content(int64_t i) {
  std::vector<std::byte> bytes(kRows * kCols * 2);
  std::mt19937 random(static_cast<unsigned>(i));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// Every file below the directory and its bytes.
std::map<std::string, std::string> files_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    files[entry.path().lexically_relative(directory)] = entry.is_directory() ? "/" : read_text(entry.path());
  return files;
}

class CheckpointWriterTest : public ::testing::Test {
 protected:
  CheckpointWriterTest() : root_(directory_.path()) {
    fs::create_directories(source_);
    write_text(source_ / "config.json", "{}");
    write_text(source_ / "tokenizer.json", "{\"tokens\": []}");
  }

  CheckpointWriter open(WriterOptions options = {}) { return CheckpointWriter(out_, source_, layout(), job_, options); }

  // Writes tensor i in pieces.
  static void write_tensor(CheckpointWriter& writer, int64_t i) {
    const std::vector<std::byte> bytes = content(i);
    for (size_t at = 0; at < bytes.size(); at += 10000)
      writer.write(name_of(i), static_cast<int64_t>(at),
                   std::span(bytes).subspan(at, std::min<size_t>(10000, bytes.size() - at)));
    writer.finish_tensor(name_of(i), {{"index", i}});
  }
  // The number of tensors that had to be written.
  int write_all(CheckpointWriter& writer) {
    int written = 0;
    for (int i = 0; i < kTensors; ++i)
      if (!writer.finished(name_of(i))) write_tensor(writer, i), ++written;
    complete(writer);
    return written;
  }
  void complete(CheckpointWriter& writer) {
    writer.add_text("config.json", "{\"a\": 1}\n");
    writer.copy(source_ / "tokenizer.json", "code/tokenizer.json");
    writer.finish();
  }
  std::string refusal(WriterOptions options = {}) {
    return message_of([&] { open(options); }, root_);
  }
  // Writes the first tensors and is gone.
  void interrupt_after(int tensors) {
    CheckpointWriter writer = open();
    for (int i = 0; i < tensors; ++i) write_tensor(writer, i);
  }
  std::map<std::string, std::string> undisturbed() {
    const fs::path out = std::exchange(out_, root_ / "undisturbed");
    CheckpointWriter writer = open();
    write_all(writer);
    return files_of(std::exchange(out_, out));
  }

  TemporaryDirectory directory_;
  fs::path root_, source_ = root_ / "model", out_ = root_ / "out", partial_ = root_ / "out.partial";
  Json job_ = {{"seed", 1}, {"options", {{"rotations", {"R1"}}}}};
};

TEST_F(CheckpointWriterTest, WhatIsWrittenIsACheckpoint) {
  CheckpointWriter writer = open();
  EXPECT_EQ(write_all(writer), kTensors);
  const Checkpoint checkpoint = Checkpoint::open(out_);
  EXPECT_EQ(checkpoint.shards().size(), 3u);
  for (int i = 0; i < kTensors; ++i) EXPECT_EQ(checkpoint.read(checkpoint.at(name_of(i))), content(i)) << i;
  EXPECT_EQ(read_text(out_ / "config.json"), "{\"a\": 1}\n");
  EXPECT_EQ(read_text(out_ / "model.safetensors.index.json"), layout().index);
  EXPECT_EQ(read_text(out_ / "code/tokenizer.json"), "{\"tokens\": []}");
  EXPECT_EQ(files_of(out_).size(), 3u + 2 + 2);  // shards, index, config, code/, code/tokenizer
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(CheckpointWriterTest, NothingIsAtOutBeforeFinish) {
  interrupt_after(kTensors);
  EXPECT_FALSE(fs::exists(out_));
  EXPECT_TRUE(fs::exists(partial_));
}

TEST_F(CheckpointWriterTest, ThreadsWriteTheSameBytes) {
  const auto expected = undisturbed();
  CheckpointWriter writer = open();
  parallel_for(kTensors, 8, [&](int64_t i, int) { write_tensor(writer, i); });
  complete(writer);
  EXPECT_EQ(files_of(out_), expected);
}

TEST_F(CheckpointWriterTest, AnInterruptedRunIsResumed) {
  const auto expected = undisturbed();
  interrupt_after(5);
  CheckpointWriter writer = open();
  ASSERT_NE(writer.finished(name_of(4)), nullptr);
  EXPECT_EQ((*writer.finished(name_of(4)))["index"], 4);
  EXPECT_EQ(writer.finished(name_of(5)), nullptr);
  EXPECT_EQ(write_all(writer), kTensors - 5);
  EXPECT_EQ(files_of(out_), expected);
}

TEST_F(CheckpointWriterTest, TensorsWhoseBytesWereLostAreWrittenAgain) {
  const auto expected = undisturbed();
  interrupt_after(5);
  const OutputLayout::Shard shard = layout().shards[0];
  File file = File::create(partial_ / "files" / shard.file, shard.bytes);
  file.write(shard.tensors[1].end - 1, std::as_bytes(std::span("?", 1)));
  file.write(0, std::as_bytes(std::span("????????", 8)));
  CheckpointWriter writer = open();
  EXPECT_EQ(writer.finished(shard.tensors[1].name), nullptr);
  EXPECT_EQ(write_all(writer), kTensors - 4);
  EXPECT_EQ(files_of(out_), expected);
}

TEST_F(CheckpointWriterTest, ATornJournalLineIsIgnored) {
  const auto expected = undisturbed();
  interrupt_after(5);
  const fs::path journal = partial_ / "journal.jsonl";
  fs::resize_file(journal, fs::file_size(journal) - 3);
  CheckpointWriter writer = open();
  EXPECT_EQ(write_all(writer), kTensors - 4);
  EXPECT_EQ(files_of(out_), expected);
}

TEST_F(CheckpointWriterTest, AnotherJobIsRefusedByTheKeysThatDiffer) {
  interrupt_after(5);
  job_["seed"] = 2;
  job_["options"]["rotations"] = {"R1", "R2"};
  EXPECT_EQ(refusal(),
            "out.partial: was left by another job: seed was 1, is 2; options.rotations was [\"R1\"], is "
            "[\"R1\",\"R2\"]; delete it, or pass --discard-partial to start again");
  CheckpointWriter writer = open({.discard = true});
  EXPECT_EQ(write_all(writer), kTensors);
}

TEST_F(CheckpointWriterTest, AnotherLayoutIsAnotherJob) {
  interrupt_after(5);
  const OutputLayout one_shard = layout_shards(layout().shards[0].tensors, 1 << 30);
  const std::string message = message_of([&] { CheckpointWriter(out_, source_, one_shard, job_, {}); }, root_);
  EXPECT_EQ(message.substr(0, 49), "out.partial: was left by another job: layout was ");
}

TEST_F(CheckpointWriterTest, DiscardStartsAgain) {
  interrupt_after(5);
  CheckpointWriter writer = open({.discard = true});
  EXPECT_EQ(write_all(writer), kTensors);
}

TEST_F(CheckpointWriterTest, TwoRunsLockEachOtherOut) {
  const CheckpointWriter writer = open();
  EXPECT_EQ(refusal(), "out.partial: another run (process " + std::to_string(::getpid()) +
                           ") is writing it; wait for it or stop it first");
  EXPECT_EQ(refusal({.discard = true}), refusal());
}

TEST_F(CheckpointWriterTest, DirectoriesOfSomebodyElseAreNotTakenOver) {
  fs::create_directories(partial_);
  write_text(partial_ / "thesis.tex", "x");
  EXPECT_EQ(
      refusal(),
      "out.partial: has no journal: it was not left by an interrupted run; delete it, or pass --discard-partial to "
      "start again");
  EXPECT_EQ(read_text(partial_ / "thesis.tex"), "x");
  fs::remove(partial_ / "thesis.tex");
  write_text(partial_ / "journal.jsonl.tmp", "{\"jo");  // killed before the journal was there
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckpointWriterTest, AnExistingOutIsRefusedWithoutForce) {
  fs::create_directories(out_);
  EXPECT_EQ(refusal(), "out: exists; choose another output directory, or pass --force to replace it");
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(CheckpointWriterTest, AnOutThatAppearsMeanwhileIsNotReplaced) {
  EXPECT_EQ(message_of(
                [&] {
                  CheckpointWriter writer = open();
                  fs::create_directories(out_);
                  write_all(writer);
                },
                root_),
            "out: exists; choose another output directory, or pass --force to replace it");
  EXPECT_TRUE(fs::is_empty(out_));
  CheckpointWriter writer = open({.force = true});
  EXPECT_EQ(write_all(writer), 0);
}

TEST_F(CheckpointWriterTest, ForceKeepsTheOldOneUntilTheNewOneIsComplete) {
  const auto expected = undisturbed();
  fs::create_directories(out_);
  write_text(out_ / "config.json", "old");
  write_text(out_ / "extra", "old");
  CheckpointWriter writer = open({.force = true});
  EXPECT_EQ(read_text(out_ / "config.json"), "old");
  write_all(writer);
  EXPECT_EQ(files_of(out_), expected);
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(CheckpointWriterTest, ForceReplacesCheckpointsOnly) {
  fs::create_directories(out_);
  EXPECT_EQ(refusal({.force = true}), "");  // empty
  fs::remove_all(partial_);
  write_text(out_ / "thesis.tex", "x");
  const std::string hint = "; choose another output directory, or delete it yourself";
  EXPECT_EQ(refusal({.force = true}),
            "out: is not a checkpoint (no config.json), which --force does not replace" + hint);
  fs::remove_all(out_);
  write_text(out_, "x");
  EXPECT_EQ(refusal({.force = true}),
            "out: is not a checkpoint (no config.json), which --force does not replace" + hint);
  fs::remove(out_);
  fs::create_directory_symlink(source_, root_ / "link");
  out_ = root_ / "link";
  EXPECT_EQ(refusal({.force = true}), "link: is the model itself; choose another output directory");
  fs::remove(out_);
  fs::create_directories(root_ / "elsewhere");
  fs::create_directory_symlink(root_ / "elsewhere", out_);
  EXPECT_EQ(refusal({.force = true}), "link: is a symbolic link, which --force does not replace" + hint);
}

TEST_F(CheckpointWriterTest, OutIsNeitherTheModelNorInsideNorAround) {
  const auto with_out = [&](const fs::path& out) {
    out_ = out;
    return refusal({.force = true});
  };
  const std::string hint = "; choose another output directory";
  EXPECT_EQ(with_out(source_), "model: is the model itself" + hint);
  EXPECT_EQ(with_out(source_ / ""), "model: is the model itself" + hint);
  EXPECT_EQ(with_out(source_ / "."), "model: is the model itself" + hint);
  EXPECT_EQ(with_out(source_ / "out"), "model/out: lies inside the model model" + hint);
  fs::create_directory_symlink(source_, root_ / "link");
  EXPECT_EQ(with_out(root_ / "link/out"), "model/out: lies inside the model model" + hint);
  EXPECT_EQ(with_out(root_), root_.string() + ": the model model lies inside it" + hint);
  fs::rename(source_, root_ / "a.partial");
  source_ = root_ / "a.partial";
  EXPECT_EQ(with_out(root_ / "a"), "a.partial: is the model itself" + hint);
  EXPECT_EQ(files_of(source_).size(), 2u);
}

TEST_F(CheckpointWriterTest, TheParentOfOutMustExist) {
  out_ = root_ / "none/out";
  EXPECT_EQ(refusal(), "none: no such directory; create it first");
  out_ = "";
  EXPECT_EQ(refusal(), "'': cannot be an output directory");
  out_ = "/";
  EXPECT_NE(refusal(), "");
}

TEST_F(CheckpointWriterTest, IncompleteOutputIsNotPublished) {
  CheckpointWriter writer = open();
  EXPECT_EQ(message_of([&] { writer.finish(); }), "tensor.0: is not finished, so the output is not complete");
  const std::vector<std::byte> bytes(10);
  writer.write(name_of(0), 5, bytes);
  EXPECT_EQ(message_of([&] { writer.finish_tensor(name_of(0), nullptr); }),
            "tensor.0: only 10 of its 32768 bytes were written");
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(CheckpointWriterTest, WritesStayInsideTheirTensor) {
  CheckpointWriter writer = open();
  const std::vector<std::byte> bytes(2);
  EXPECT_EQ(message_of([&] { writer.write(name_of(0), 32767, bytes); }),
            "tensor.0: 2 bytes at byte 32767 are not within its 32768");
  EXPECT_NE(message_of([&] { writer.write(name_of(0), -1, bytes); }), "");
  EXPECT_EQ(message_of([&] { writer.write("x", 0, bytes); }), "x: is not a tensor of the output");
}

TEST_F(CheckpointWriterTest, OtherFilesStayInsideOut) {
  CheckpointWriter writer = open();
  for (const std::string file : {"../x", "/x", "a/../../x", ".", "..", "", "a/"})
    EXPECT_EQ(message_of([&] { writer.add_text(file, ""); }),
              file + ": is not the name of a file in the output directory");
  writer.add_text("config.json", "{}");
  EXPECT_EQ(message_of([&] { writer.add_text("config.json", "{}"); }), "config.json: is written twice");
  EXPECT_EQ(message_of([&] { writer.copy(source_ / "config.json", layout().shards[0].file); }),
            layout().shards[0].file + ": is written twice");
}

TEST_F(CheckpointWriterTest, FilesOfAnEarlierRunThatAreNotPartOfTheOutputAreDeleted) {
  const auto expected = undisturbed();
  {
    CheckpointWriter writer = open();
    writer.add_text("old/deep/README.md", "x");
    writer.add_text("config.json", "{\"a much longer text\": 1}");
  }
  fs::create_symlink("/nowhere", partial_ / "files/dangling");
  CheckpointWriter writer = open();
  write_all(writer);
  EXPECT_EQ(files_of(out_), expected);
}

TEST_F(CheckpointWriterTest, AnOldOutMovedAsideIsMovedBack) {
  interrupt_after(5);
  fs::create_directories(partial_ / "replaced");
  write_text(partial_ / "replaced/config.json", "old");
  EXPECT_EQ(refusal(), "out: exists; choose another output directory, or pass --force to replace it");
  EXPECT_EQ(read_text(out_ / "config.json"), "old");
  fs::create_directories(partial_ / "replaced");  // killed before what was replaced was deleted
  CheckpointWriter writer = open({.force = true});
  EXPECT_FALSE(fs::exists(partial_ / "replaced"));
  EXPECT_EQ(write_all(writer), kTensors - 5);
}

// kill -9 at random moments, again and again, until a run comes through.
TEST_F(CheckpointWriterTest, KilledRunsEndByteIdentical) {
  const auto expected = undisturbed();
  std::mt19937 random(7);
  int killed = 0;
  for (int round = 0; round < 5; ++round, fs::remove_all(out_)) {
    while (!fs::exists(out_)) {
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        const std::string message = message_of([&] {
          CheckpointWriter writer = open();
          write_all(writer);
        });
        ::_exit(message.empty() ? 0 : 1);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
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
}  // namespace spinor
