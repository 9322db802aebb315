#include "spinor/modifier/oneshot.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/modifier/note_modifier.h"
#include "spinor/transform/fold.h"
#include "tests/golden/golden.h"

namespace spinor::oneshot_test {
namespace {

TEST(RunRecipe, TakesEveryModifierThroughEachPhaseInOrder) {
  NoteModifier::add();
  NoteModifier::log().clear();
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  Recipe recipe = Recipe::parse(
      "a_stage: {x_modifiers: {NoteModifier: {text: one}, SpinQuantModifier: {}}, y_modifiers: {NoteModifier: {text: "
      "two}}}",
      "recipe.yaml");
  const std::vector<std::string> warnings = run_recipe(recipe, model, plan);
  EXPECT_EQ(warnings, (std::vector<std::string>{"note one", "note two"}));
  EXPECT_EQ(NoteModifier::log(), (std::vector<std::string>{"one prepare", "two prepare", "one rewrite", "two rewrite",
                                                           "one end", "two end", "one finish", "two finish"}));
  EXPECT_FALSE(golden::tensor(plan, "model.embed_tokens.weight").edits.empty());
  EXPECT_EQ(testing::message_of([&] { run_recipe(recipe, model, plan); }),
            "recipe: has run already; read it again, or make another one");
}

TEST(RunRecipe, LetsAModifierActAtOnceThatStartsAtZero) {
  NoteModifier::add();
  const Model model = golden::model("transforms/llama");
  const std::pair<const char*, std::vector<std::string>> rows[] = {
      {"start: 0", {"one prepare", "two prepare", "two rewrite", "one rewrite"}},
      {"start: -1, end: 1", {"one prepare", "two prepare", "two rewrite", "one rewrite"}},
      {"start: 0, end: 0", {"one prepare", "two prepare", "one rewrite", "two rewrite"}},
      {"start: 1", {"one prepare", "two prepare", "one rewrite", "two rewrite"}},
  };
  for (const auto& [arguments, expected] : rows) {
    NoteModifier::log().clear();
    RewritePlan plan(model);
    Recipe recipe =
        Recipe::parse("a_stage: {x_modifiers: {NoteModifier: {text: one}}, y_modifiers: {NoteModifier: {text: two, " +
                          std::string(arguments) + "}}}",
                      "recipe.yaml");
    const RecipeRun run(recipe, model, plan);
    EXPECT_EQ(NoteModifier::log(), expected) << arguments;
  }
}

TEST(RunRecipe, RefusesModifiersThatNeedData) {
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  Recipe recipe =
      Recipe::parse("a_stage: {b_modifiers: {SpinQuantModifier: {requires_calibration_data: true}}}", "recipe.yaml");
  EXPECT_EQ(testing::message_of([&] { run_recipe(recipe, model, plan); }),
            "SpinQuantModifier: needs calibration data, and there is none; write the model with spinor "
            "quantize --calibration FILE, or remove "
            "requires_calibration_data from the recipe");
}

// All that a modifier of a program's own needs: a name, its arguments, and what it does to the plan.
class CenterModifier : public Modifier {
 public:
  struct Arguments {
    std::string target;
    template <class Visitor>
    void fields(Visitor& v) {
      v("target", target, required);
    }
  };
  explicit CenterModifier(Arguments arguments, const Place& = {}) : arguments_(std::move(arguments)) {}
  std::string name() const override { return "CenterModifier"; }
  Json arguments() const override { return write_fields(arguments_); }

  void prepare(const Model& model, RewritePlan&, Warnings& warnings) override {
    warnings.push_back("of " + std::string(model.architecture_name()));
  }
  void rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) override {
    center_embeddings(model, plan, "model.embed_tokens");
    center_embeddings(model, plan, arguments_.target);
    warnings.push_back("centred " + arguments_.target);
  }

 private:
  Arguments arguments_;
};

TEST(RunRecipe, RunsAModifierThatIsARewriteAndNothingElse) {
  register_modifier_type({"CenterModifier", make_modifier<CenterModifier>});
  const Model model = golden::model("transforms/llama");
  RewritePlan plan(model);
  const std::string recipe = "a_stage: {b_modifiers: {CenterModifier: {target: 're:.*embed_tokens$'}}}";
  Recipe good = Recipe::parse(recipe, "recipe.yaml"),
         bad = Recipe::parse("a_stage: {b_modifiers: {CenterModifier: {target: lm_head}}}", "recipe.yaml");
  EXPECT_EQ(run_recipe(good, model, plan),
            (std::vector<std::string>{"of LlamaForCausalLM", "centred re:.*embed_tokens$"}));
  EXPECT_EQ(golden::tensor(plan, "model.embed_tokens.weight").edits.size(), 2U);
  EXPECT_EQ(testing::message_of([&] { run_recipe(bad, model, plan); }),
            "lm_head: is not an embedding, so it cannot be centred");
  EXPECT_EQ(golden::tensor(plan, "model.embed_tokens.weight").edits.size(), 2U) << "as it was";
}

}  // namespace
}  // namespace spinor::oneshot_test
