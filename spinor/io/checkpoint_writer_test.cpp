#include "spinor/io/checkpoint_writer.h"

#include <gtest/gtest.h>

#include <map>

#include "spinor/base/parallel.h"
#include "spinor/io/checkpoint.h"
#include "spinor/io/testing.h"
#include "tests/io/checkpoint_writer_fixture.h"

namespace spinor::checkpoint_writer_test {
namespace {

namespace fs = std::filesystem;
using testing::message_of;
using testing::TemporaryDirectory;

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
  ASSERT_TRUE(writer.finished(name_of(4)).has_value());
  EXPECT_EQ((*writer.finished(name_of(4)))["index"], 4);
  EXPECT_FALSE(writer.finished(name_of(5)).has_value());
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
  EXPECT_FALSE(writer.finished(shard.tensors[1].name).has_value());
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

}  // namespace
}  // namespace spinor::checkpoint_writer_test
