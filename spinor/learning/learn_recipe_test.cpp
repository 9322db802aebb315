#include "spinor/learning/learn_recipe.h"

#include <gtest/gtest.h>

#include <map>
#include <stop_token>

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
       .learning = {.steps = 3, .batch = 32, .samples = 2, .holdout = 2, .context = kContext}});
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

  spinor::testing::TemporaryDirectory directory_;
  Model model_ = spinor::testing::make_model(directory_);
  LearningText text_{spinor::testing::tokens(4 * kContext, model_.vocabulary_size())};
};

// What a program that stops there finds: nothing was written, and the recipe is as it was.
TEST_F(LearnRecipeTest, AStopRequestEndsEveryPhase) {
  for (const char* phase : {"capture", "learn R1", "judge"}) {
    Recipe recipe = recipe_to_learn();
    const std::string before = recipe.yaml();
    std::stop_source stop;
    std::map<std::string, int> seen;
    RecipeLearning how = options();
    how.learner.stop = stop.get_token();
    how.learner.progress = [&](const std::string& what, int64_t, int64_t) {
      ++seen[what];
      if (what == phase) stop.request_stop();
    };
    EXPECT_THROW(learn_recipe(recipe, model_, text_, how), Stopped) << phase;
    EXPECT_EQ(seen[phase], 1);
    EXPECT_EQ(recipe.yaml(), before);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);  // the model
  }
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
