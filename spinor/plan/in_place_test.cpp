#include "spinor/plan/in_place.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "spinor/linalg/random.h"
#include "spinor/plan/testing.h"

namespace spinor::in_place_test {
namespace {

using testing::message_of;

// A tied model in memory, rows some bytes apart, and the same in files.
class RewriteInPlace : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  std::filesystem::path source_ = testing::write_model(directory_ / "model", {.tied = true, .biases = true});
  const Checkpoint files_ = Checkpoint::open(source_);
  std::map<std::string, std::vector<std::byte>> memory_;
  std::vector<std::byte> head_ = std::vector<std::byte>(40 * 32 * 4);

  static constexpr int64_t kGap = 64;

  Checkpoint in_memory() {
    std::vector<MemoryTensor> tensors;
    for (const CheckpointTensor& tensor : files_.tensors()) {
      const int64_t row = tensor.info.row_bytes(), rows = tensor.info.rows();
      std::vector<std::byte>& bytes = memory_[tensor.info.name];
      bytes.resize(static_cast<size_t>(rows * (row + kGap)));
      std::vector<int64_t> strides(tensor.info.shape.size(), 4);
      if (strides.size() == 2) strides[0] = row + kGap;
      tensors.push_back(
          MemoryTensor::of(tensor.info.name, tensor.info.dtype, tensor.info.shape, bytes.data(), strides));
      tensors.back().write(0, files_.read(tensor));
    }
    return Checkpoint::of_memory("a model", files_.config(), std::move(tensors));
  }
  InPlaceOptions options(int threads = 2) {
    return {.threads = threads,
            .added = {{"lm_head.weight",
                       MemoryTensor::of("lm_head.weight", DType::F32, {40, 32}, head_.data(), {32 * 4, 4})}}};
  }
  // Norms folded, rows and panels mixed, the head with a tensor of its own.
  static RewritePlan plan(const Model& model) {
    RewritePlan plan(model);
    plan.untie();
    Random random(7);
    const Rotation r1 = Rotation::hadamard(Hadamard::sylvester(32), random.signs(32));
    for (const NormReads& reads : model.stream().norm_reads) {
      for (const Module* linear : reads.linears) {
        plan.edit_weight(*linear, FoldNorm{reads.norm->weight->info.name});
        plan.edit_weight(*linear, MultiplyRight{r1, "R1"});
      }
      plan.edit_weight(*reads.norm, Fill{1});
    }
    for (const Module& module : model.modules())
      if (module.role == Role::mlp_out) plan.edit_weight(module, MultiplyLeft{r1.transposed(), "R1'"});
    plan.edit_weight(*model.embedding(), MultiplyRight{r1, "R1"});
    return plan;
  }
};

TEST_F(RewriteInPlace, GivesTheBytesThatSaveWrites) {
  save(plan(Model::describe(files_)), directory_ / "out");
  const Checkpoint saved = Checkpoint::open(directory_ / "out");
  for (const int threads : {1, 3}) {
    const Checkpoint memory = in_memory();
    rewrite_in_place(plan(Model::describe(memory)), options(threads));
    for (const CheckpointTensor& tensor : memory.tensors())
      EXPECT_EQ(memory.read(tensor), saved.read(saved.at(tensor.info.name))) << tensor.info.name;
    EXPECT_EQ(head_, saved.read(saved.at("lm_head.weight")));
  }
}

TEST_F(RewriteInPlace, WhatCannotBeDoneIsKnownBeforeAnythingIsWritten) {
  const auto untouched = [&](const Checkpoint& memory) {
    return std::ranges::all_of(memory.tensors(), [&](const CheckpointTensor& tensor) {
      return tensor.info.name.ends_with("down_proj.weight") ||
             memory.read(tensor) == files_.read(files_.at(tensor.info.name));
    });
  };
  const Checkpoint memory = in_memory();
  const RewritePlan rewriting = plan(Model::describe(memory));
  EXPECT_EQ(message_of([&] { rewrite_in_place(rewriting, {}); }), "lm_head.weight: has no place in memory");
  std::stop_source stop;
  stop.request_stop();
  InPlaceOptions stopped = options();
  stopped.stop = stop.get_token();
  EXPECT_THROW(rewrite_in_place(rewriting, stopped), Stopped);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  memory.at("model.layers.1.mlp.down_proj.weight").memory->write(100, std::as_bytes(std::span(&nan, 1)));
  EXPECT_EQ(message_of([&] { rewrite_in_place(rewriting, options()); }),
            "model.layers.1.mlp.down_proj.weight: contains NaN or infinity; the checkpoint is damaged");
  EXPECT_TRUE(untouched(memory));
  EXPECT_EQ(message_of([&] { rewrite_in_place(plan(Model::describe(files_)), options()); }),
            "model.embed_tokens.weight: is in a file; give a model whose weights are numbers in memory");
}

// Stopped at each block in turn: what is named is what has changed.
TEST_F(RewriteInPlace, AnEndHalfwaySaysWhatWasDone) {
  int halfway = 0;
  for (int64_t blocks = 1; blocks < 64; blocks += 9) {
    const Checkpoint memory = in_memory();
    std::stop_source stop;
    InPlaceOptions some = options(1);
    some.stop = stop.get_token();
    int64_t left = blocks;
    some.progress = [&](const SaveProgress&) {
      if (--left == 0) stop.request_stop();
    };
    try {
      rewrite_in_place(plan(Model::describe(memory)), some);
    } catch (const PartlyRewritten& error) {
      ++halfway;
      std::vector<std::string> named = error.rewritten();
      named.insert(named.end(), error.damaged().begin(), error.damaged().end());
      for (const CheckpointTensor& tensor : memory.tensors()) {
        const bool changed = memory.read(tensor) != files_.read(files_.at(tensor.info.name));
        EXPECT_EQ(changed, std::ranges::find(named, tensor.info.name) != named.end()) << tensor.info.name;
      }
    }
  }
  EXPECT_GT(halfway, 1);
}

}  // namespace
}  // namespace spinor::in_place_test
