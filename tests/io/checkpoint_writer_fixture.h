// A small checkpoint, written by a CheckpointWriter as its tests want it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "spinor/io/checkpoint_writer.h"
#include "spinor/io/testing.h"

namespace spinor {

inline constexpr int kTensors = 8;
inline constexpr int64_t kRows = 64, kCols = 256;  // of BF16

inline std::string name_of(int64_t i) {
  return "tensor." + std::to_string(i);
}

inline OutputLayout layout() {
  std::vector<TensorInfo> tensors;
  for (int i = 0; i < kTensors; ++i)
    tensors.push_back({.name = name_of(i), .dtype = DType::BF16, .shape = {kRows, kCols}});
  return layout_shards(tensors, 3 * kRows * kCols * 2);  // three shards
}

inline std::vector<std::byte> content(int64_t i) {
  std::vector<std::byte> bytes(kRows * kCols * 2);
  std::mt19937 random(static_cast<unsigned>(i));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// Every file below the directory and its bytes.
inline std::map<std::string, std::string> files_of(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    files[entry.path().lexically_relative(directory)] = entry.is_directory() ? "/" : read_text(entry.path());
  return files;
}

class CheckpointWriterTest : public ::testing::Test {
 protected:
  CheckpointWriterTest() : root_(directory_.path()) {
    std::filesystem::create_directories(source_);
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
    return testing::message_of([&] { open(options); }, root_);
  }
  // Writes the first tensors and is gone.
  void interrupt_after(int tensors) {
    CheckpointWriter writer = open();
    for (int i = 0; i < tensors; ++i) write_tensor(writer, i);
  }
  std::map<std::string, std::string> undisturbed() {
    const std::filesystem::path out = std::exchange(out_, root_ / "undisturbed");
    CheckpointWriter writer = open();
    write_all(writer);
    return files_of(std::exchange(out_, out));
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path root_, source_ = root_ / "model", out_ = root_ / "out", partial_ = root_ / "out.partial";
  Json job_ = {{"seed", 1}, {"options", {{"rotations", {"R1"}}}}};
};

}  // namespace spinor
