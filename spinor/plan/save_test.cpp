#include "spinor/plan/save.h"

#include <gtest/gtest.h>

#include <cstring>

#include "spinor/linalg/random.h"
#include "spinor/plan/testing.h"

namespace spinor::save_test {
namespace {

using testing::message_of;

class Save : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  std::filesystem::path source_ = testing::write_model(directory_ / "model", {.tied = true});
  std::filesystem::path out_ = directory_ / "out";

  // Something of every kind: rows, panels, a vector, a copy.
  RewritePlan plan() const {
    const Model model = Model::describe(Checkpoint::open(source_));
    RewritePlan plan(model);
    plan.untie();
    Random random(7);
    const Rotation r1 = Rotation::hadamard(Hadamard::sylvester(32), random.signs(32));
    for (const Module& module : model.modules()) {
      if (module.role == Role::mlp_in) plan.edit_weight(module, MultiplyRight{r1, "R1"});
      if (module.role == Role::mlp_out) plan.edit_weight(module, MultiplyLeft{r1.transposed(), "R1'"});
      if (module.role == Role::stream_norm) plan.edit_weight(module, Fill{1});
    }
    return plan;
  }

  std::map<std::string, std::string> files(const std::filesystem::path& directory) const {
    std::map<std::string, std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      result[entry.path().filename().string()] = read_text(entry.path());
    return result;
  }
};

TEST_F(Save, BytesDoNotDependOnTheNumberOfThreads) {
  save(plan(), directory_ / "one", {.threads = 1});
  save(plan(), directory_ / "three", {.threads = 3});
  EXPECT_EQ(files(directory_ / "one"), files(directory_ / "three"));
}

TEST_F(Save, WhatWasNotEditedIsCopiedToTheByte) {
  const Model model = Model::describe(Checkpoint::open(source_));
  save(RewritePlan(model), out_);
  EXPECT_EQ(read_text(source_ / "model.safetensors"), read_text(out_ / "model.safetensors"));
  EXPECT_EQ(read_text(source_ / "config.json"), read_text(out_ / "config.json"));
}

TEST_F(Save, OtherFilesComeAlong) {
  write_text(source_ / "tokenizer.json", "{}");
  write_text(source_ / "modeling_custom.py", "pass\n");
  save(plan(), out_, {.texts = {{"recipe.yaml", "a: 1\n"}}});
  EXPECT_EQ(read_text(out_ / "tokenizer.json"), "{}");
  EXPECT_EQ(read_text(out_ / "modeling_custom.py"), "pass\n");
  EXPECT_EQ(read_text(out_ / "recipe.yaml"), "a: 1\n");
}

TEST_F(Save, UntyingWritesTheHeadAndSaysSo) {
  save(plan(), out_);
  const Checkpoint out = Checkpoint::open(out_);
  EXPECT_EQ(out.read(out.at("lm_head.weight")), out.read(out.at("model.embed_tokens.weight")));
  EXPECT_EQ(out.config().at("tie_word_embeddings"), false);
}

TEST_F(Save, ADtypeChangesEveryFloatTensorAndTheConfig) {
  save(plan(), out_, {.dtype = DType::BF16});
  const Checkpoint out = Checkpoint::open(out_);
  for (const CheckpointTensor& tensor : out.tensors()) EXPECT_EQ(tensor.info.dtype, DType::BF16) << tensor.info.name;
  EXPECT_EQ(out.config().at("torch_dtype"), "bfloat16");
}

TEST_F(Save, SmallShardsHoldTheSameTensors) {
  save(plan(), directory_ / "whole");
  save(plan(), out_, {.max_shard_bytes = 10'000});
  const Checkpoint whole = Checkpoint::open(directory_ / "whole"), parts = Checkpoint::open(out_);
  EXPECT_GT(parts.shards().size(), 3U);
  for (const CheckpointTensor& tensor : whole.tensors())
    EXPECT_EQ(whole.read(tensor), parts.read(parts.at(tensor.info.name))) << tensor.info.name;
}

TEST_F(Save, TheRecordHoldsVersionRecipeAndDigestsOfTheInputs) {
  save(plan(), out_, {.record = {{"command", "rotate"}}});
  const Json record = parse_json(read_text(out_ / "spinor.json"), "spinor.json");
  EXPECT_EQ(record.at("command"), "rotate");
  EXPECT_EQ(record.at("spinor_version"), SPINOR_VERSION);
  EXPECT_EQ(record.at("source").at("model.safetensors").get<std::string>().size(), 32U);
  testing::write_model(directory_ / "other", {.tied = true, .seed = 2});
  source_ = directory_ / "other";
  save(plan(), directory_ / "out2");
  EXPECT_NE(parse_json(read_text(directory_ / "out2" / "spinor.json"), "").at("source"), record.at("source"));
}

TEST_F(Save, AnInterruptedSaveGoesOnAndEndsWithTheSameBytes) {
  save(plan(), directory_ / "whole");
  int blocks = 0;
  const auto stop = [&](const SaveProgress&) {
    if (++blocks == 9) throw Error("test", "stop");
  };
  EXPECT_EQ(message_of([&] { save(plan(), out_, {.threads = 1, .progress = stop}); }), "test: stop");
  EXPECT_FALSE(std::filesystem::exists(out_));
  const SaveReport report = save(plan(), out_);
  EXPECT_GT(report.bytes_resumed, 0);
  EXPECT_EQ(files(directory_ / "whole"), files(out_));
}

TEST_F(Save, OnlineMatricesAreWrittenOnceAndNotWrittenAgainByAResume) {
  RewritePlan online = plan();
  Random random(5);
  const Rotation r = Rotation::hadamard(Hadamard::sylvester(16), random.signs(16), random.permutation(16));
  for (const char* module : {"model.layers.1.mlp.down_proj", "model.layers.0.mlp.down_proj"})
    online.add_online({module, "R4", TransformLocation::input, r});
  save(online, out_, {.threads = 2});
  const Checkpoint saved = Checkpoint::open(out_);
  EXPECT_EQ(saved.tensors().size(), online.tensors().size() + 2);
  const CheckpointTensor& matrix = saved.at("model.layers.0.mlp.down_proj.R4_input.weight");
  EXPECT_EQ(matrix.info.shape, (std::vector<int64_t>{16, 16}));
  std::vector<float> m(16 * 16);
  const std::vector<std::byte> bytes = saved.read(matrix);
  std::memcpy(m.data(), bytes.data(), bytes.size());
  for (int64_t i = 0; i < 16; ++i)
    for (int64_t j = 0; j < 16; ++j) EXPECT_EQ(m[static_cast<size_t>(i * 16 + j)], r.stored(i, j));
  std::vector<int64_t> p(16);
  const std::vector<std::byte> permutation = saved.read(saved.at("model.layers.0.mlp.down_proj.R4_input.perm"));
  std::memcpy(p.data(), permutation.data(), permutation.size());
  EXPECT_EQ(p, r.permutation());

  // A run that is stopped after everything but the last byte was written.
  int64_t total = 0;
  const auto stop = [&](const SaveProgress& progress) {
    total = progress.bytes_total;
    if (progress.bytes_done == progress.bytes_total) throw Error("test", "stopped");
  };
  const std::filesystem::path again = directory_ / "again";
  EXPECT_THROW(save(online, again, {.threads = 1, .progress = stop}), Error);
  const SaveReport report = save(online, again, {.threads = 1});
  EXPECT_EQ(report.bytes_resumed + report.bytes_written, total);
  EXPECT_LT(report.bytes_written, total / 10);
  EXPECT_EQ(files(again), files(out_));
}

TEST_F(Save, TheSizeIsKnownBeforehand) {
  const SaveSize size = save_size(plan(), {.threads = 2});
  save(plan(), out_, {.threads = 2});
  int64_t bytes = 0;
  for (const CheckpointTensor& tensor : Checkpoint::open(out_).tensors()) bytes += tensor.info.bytes();
  EXPECT_EQ(size.bytes, bytes);
  EXPECT_GT(size.memory, 0);
}

}  // namespace
}  // namespace spinor::save_test
