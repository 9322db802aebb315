#include "spinor/learning/learn_recipe.h"

#include <gtest/gtest.h>

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "spinor/job/job.h"
#include "spinor/modifier/spinquant_modifier.h"
#include "spinor/runtime/testing.h"

namespace spinor::learning::learn_recipe_test {
namespace {

constexpr int64_t kContext = 16;

Recipe recipe_to_learn() {
  Recipe recipe;
  recipe.add<SpinQuantModifier>(
      {.transform_type = "random-hadamard",
       .learnable = true,
       .learning =
           {.rotations = {"R1", "R2"}, .steps = 3, .batch = 32, .samples = 2, .holdout = 2, .context = kContext},
       .seeds = 2});
  return recipe;
}

class LearnRecipeTest : public ::testing::Test {
 protected:
  RecipeLearning options() {
    RecipeLearning how{.file = directory_ / "learned.safetensors"};
    how.learner.scratch = directory_.path();
    how.learner.judge.runtime.threads = 1;
    return how;
  }

  // What was done before the request in this phase ended the work.
  std::map<std::string, int> stopped(const std::string& phase, RecipeLearning how, Recipe recipe = recipe_to_learn()) {
    const std::string before = recipe.yaml();
    std::stop_source stop;
    std::map<std::string, int> seen;
    how.learner.stop = stop.get_token();
    how.learner.progress = [&](const std::string& what, int64_t, int64_t) {
      ++seen[what];
      if (what == phase) stop.request_stop();
    };
    EXPECT_THROW(learn_recipe(recipe, model_, text_, how), Stopped) << phase;
    EXPECT_EQ(recipe.yaml(), before);
    return seen;
  }

  spinor::testing::TemporaryDirectory directory_;
  Model model_ = spinor::testing::make_model(directory_);
  LearningText text_{spinor::testing::tokens(4 * kContext, model_.vocabulary_size())};
};

// The recipe is as it was, and what was found is there for the next run, which ends with the same bytes.
TEST_F(LearnRecipeTest, AStopRequestEndsEveryPhaseAndTheNextRunGoesOn) {
  const std::vector<std::string> phases = {"capture",    "seeds", "learn R1", "learn R2.0",
                                           "learn R2.1", "judge", "judge R1"};
  Recipe recipe = recipe_to_learn();
  RecipeLearning how = options();
  learn_recipe(recipe, model_, text_, how);
  const std::string whole = read_text(how.file);
  std::filesystem::remove(how.file);
  for (const int64_t memory : {int64_t{1} << 30, int64_t{100}}) {  // rows in memory, and in a file
    how.learner.rows_memory = memory;
    std::map<std::string, int> seen;
    for (size_t i = 0; i < phases.size(); ++i) {
      seen = stopped(phases[i], how);
      EXPECT_EQ(seen[phases[i]], 1) << phases[i];
      EXPECT_EQ(std::filesystem::exists(how.file.string() + ".partial"), i > 0) << phases[i];
      // What is found is not looked for again: rows in memory are, as long as they are needed.
      EXPECT_EQ(seen.contains("capture"), i < 2 || (memory > 100 && i < 6)) << phases[i];
      EXPECT_EQ(seen.contains("learn R1"), i == 2 || i == 3) << phases[i];
      EXPECT_EQ(seen.contains("learn R2.0"), i == 3 || i == 4) << phases[i];
    }
    recipe = recipe_to_learn();
    learn_recipe(recipe, model_, text_, how);
    EXPECT_EQ(read_text(how.file), whole);
    std::filesystem::remove(how.file);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);  // the model
  }
}

TEST_F(LearnRecipeTest, WhatIsLearnedFromTheNetworkGoesOnToo) {
  const auto kl = [] {
    Recipe recipe;
    recipe.add<SpinQuantModifier>({.transform_type = "random-hadamard",
                                   .learnable = true,
                                   .learning = {.objective = "kl",
                                                .rotations = {"R1", "R2"},
                                                .scales = {},
                                                .starts_from = "drawn",
                                                .steps = 4,
                                                .batch = kContext,
                                                .samples = 2,
                                                .holdout = 2,
                                                .context = kContext}});
    return recipe;
  };
  RecipeLearning how = options();
  Recipe recipe = kl();
  learn_recipe(recipe, model_, text_, how);
  const std::string whole = read_text(how.file);
  std::filesystem::remove(how.file);
  // One step each time.
  for (int run = 0; run < 3; ++run) EXPECT_EQ(stopped("learn by kl", how, kl())["learn by kl"], 1);
  int steps = 0;
  how.learner.progress = [&](const std::string& what, int64_t, int64_t) { steps += what == "learn by kl"; };
  recipe = kl();
  learn_recipe(recipe, model_, text_, how);
  EXPECT_EQ(steps, 1);
  EXPECT_EQ(read_text(how.file), whole);
}

TEST_F(LearnRecipeTest, OneRunAtATimeHasTheFile) {
  RecipeLearning how = options();
  Recipe first = recipe_to_learn();
  const LearningReport report = learn_recipe(first, model_, text_, how);
  const auto again = [&] {
    Recipe recipe = recipe_to_learn();
    learn_recipe(recipe, model_, text_, how);
  };
  EXPECT_NE(spinor::testing::message_of(again, directory_.path()).find("another run"), std::string::npos);
}

TEST_F(LearnRecipeTest, AnErrorLeavesNothingBehind) {
  RecipeLearning how = options();
  how.learner.progress = [](const std::string& what, int64_t, int64_t) {
    if (what == "judge R1") throw Error("judge", "fails");
  };
  Recipe recipe = recipe_to_learn();
  EXPECT_THROW(learn_recipe(recipe, model_, text_, how), Error);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);  // the model
}

TEST_F(LearnRecipeTest, TheRecipeThenRotatesByTheFile) {
  Recipe recipe = recipe_to_learn();
  RecipeLearning how = options();
  how.learner.complete = true;
  const LearningReport report = learn_recipe(recipe, model_, text_, how);
  EXPECT_TRUE(report.kept);
  EXPECT_EQ(report.record["tokens"].get<std::string>().size(), 32U);
  EXPECT_NE(recipe.yaml().find(how.file.string()), std::string::npos);
  Job job(model_, std::move(recipe));
  EXPECT_EQ(job.plan().rotation_types(), "R1 given, R2 given");
}

}  // namespace
}  // namespace spinor::learning::learn_recipe_test
