#include "spinor/job/job.h"

#include <gtest/gtest.h>

#include "spinor/modifier/quantization_modifier.h"
#include "spinor/modifier/spinquant_modifier.h"
#include "spinor/plan/testing.h"
#include "spinor/transform/rotate_model.h"
#include "spinor/transform/stored_online.h"

namespace spinor::job_test {
namespace {

using testing::message_of;

class JobTest : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  std::filesystem::path source_ = testing::write_model(directory_ / "model");
  std::filesystem::path out_ = directory_ / "out";

  static Recipe rotations(std::vector<Spin> which) {
    Recipe recipe;
    recipe.add<SpinQuantModifier>({.rotations = std::move(which), .transform_type = "auto"});
    return recipe;
  }
  // A source that runs R4 online.
  Model online_source() {
    Job(Model::open(source_.string()), rotations({Spin::R1, Spin::R4})).save(directory_ / "online");
    return Model::open((directory_ / "online").string());
  }
  std::string bytes(const std::filesystem::path& directory) { return read_text(directory / "model.safetensors"); }
};

TEST_F(JobTest, FiveLinesRotateAndQuantize) {
  Recipe recipe;
  recipe.add<SpinQuantModifier>({.transform_type = "auto"});
  recipe.add<QuantizationModifier>({.ignore = {"lm_head"}, .scheme = "W8A8"});
  Job job(Model::open(source_.string()), std::move(recipe));
  job.save(out_);
  const Json config = parse_json(read_text(out_ / "config.json"), "config.json");
  EXPECT_TRUE(config.contains("quantization_config"));
  const Json record = parse_json(read_text(out_ / "spinor.json"), "spinor.json");
  EXPECT_EQ(record["command"], "quantize");
  EXPECT_EQ(record["recipe"], job.recipe_json());
  EXPECT_EQ(Recipe::load(out_ / "recipe.yaml").steps().size(), 2u);
}

TEST_F(JobTest, OnlineTransformsOfTheSourceGoIntoTheWeights) {
  const Model source = online_source();
  Job(source, rotations({Spin::R2})).save(directory_ / "job");
  RewritePlan plan = start_plan(source);
  rotate_model(source, plan, {.spin = {.rotations = {Spin::R2}, .transform_type = "auto"}});
  save(plan, directory_ / "program");
  EXPECT_EQ(bytes(directory_ / "job"), bytes(directory_ / "program"));
  EXPECT_FALSE(Model::open((directory_ / "job").string()).quantized_source());
}

TEST_F(JobTest, APlanThatWouldDropThemIsRefused) {
  const Model source = online_source();
  EXPECT_EQ(message_of([&] { RewritePlan{source}; }, directory_.path()),
            "online: runs transforms online, and a plan of its weights alone drops them; "
            "make the plan with start_plan(), or use a Job");
  EXPECT_EQ(Job::as_stored(source).plan().online().size(), 2u);
  EXPECT_TRUE(Job::dequantize(source).plan().online().empty());
}

TEST_F(JobTest, WhatIsUndoneIsTheSource) {
  Job(Model::open(source_.string()), rotations({Spin::R1, Spin::R2})).save(out_);
  Job job = Job::undo(Model::open(out_.string()));
  job.save(directory_ / "back");
  EXPECT_EQ(parse_json(read_text(directory_ / "back" / "spinor.json"), "spinor.json")["command"], "rotate --inverse");
  EXPECT_EQ(message_of([&] { Job::undo(Model::open(source_.string())); }, directory_.path()),
            "model: neither recipe.yaml nor config.json says how it was rotated");
  EXPECT_EQ(message_of([&] { Job::dequantize(Model::open(source_.string())); }, directory_.path()),
            "model: is not quantized; there is nothing to do");
}

TEST_F(JobTest, AStoppedJobGoesOnToTheSameBytes) {
  Job(Model::open(source_.string()), rotations({Spin::R1})).save(directory_ / "whole");
  std::stop_source stop;
  JobSaveOptions options;
  options.files.threads = 1;
  options.files.stop = stop.get_token();
  options.files.progress = [&](const SaveProgress& progress) {
    if (progress.bytes_done > progress.bytes_total / 2) stop.request_stop();
  };
  Job stopped(Model::open(source_.string()), rotations({Spin::R1}));
  EXPECT_THROW(stopped.save(out_, options), Stopped);
  EXPECT_FALSE(std::filesystem::exists(out_));
  const SaveReport report = Job(Model::open(source_.string()), rotations({Spin::R1})).save(out_);
  EXPECT_GT(report.bytes_resumed, 0);
  EXPECT_EQ(bytes(out_), bytes(directory_ / "whole"));
}

TEST_F(JobTest, SaysWhatTheUserShouldReadBeforeItWrites) {
  std::vector<std::string> told;
  Job job(Model::open(source_.string()), rotations({Spin::R4}));
  job.warn("first");
  job.save(out_, {.warn = [&](const std::string& warning) {
             EXPECT_FALSE(std::filesystem::exists(out_));
             told.push_back(warning);
           }});
  EXPECT_EQ(told, job.warnings());
  EXPECT_EQ(told.front(), "first");
  Job other(Model::open(source_.string()), rotations({Spin::R3}));
  EXPECT_NE(message_of([&] { other.save(directory_ / "vllm", {.clients = {Client::vllm}}); }), "");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "vllm"));
}

}  // namespace
}  // namespace spinor::job_test
