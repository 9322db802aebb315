#include "spinor/modifier/recipe.h"

#include <gtest/gtest.h>

#include "spinor/base/error.h"
#include "spinor/io/testing.h"
#include "spinor/modifier/note_modifier.h"

namespace spinor::recipe_test {
namespace {

using testing::message_of;

class RecipeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { NoteModifier::add(); }
};

std::string refusal(std::string_view text, std::string_view subject = "recipe.yaml") {
  return message_of([&] { Recipe::parse(text, subject); });
}

// "stage/group name(text)" of every step.
std::vector<std::string> steps_of(const Recipe& recipe) {
  std::vector<std::string> steps;
  for (const RecipeStep& step : recipe.steps()) {
    const auto* note = dynamic_cast<const NoteModifier*>(step.modifier.get());
    steps.push_back(step.stage + "/" + step.group + " " + step.modifier->name() +
                    (note ? "(" + note->read().text + ")" : ""));
  }
  return steps;
}

constexpr const char* kTwoStages = R"(
quant_stage:
  run_type: oneshot
  first_modifiers:
    NoteModifier: {text: one, start: 0, index: 3}
    SpinQuantModifier:
  second_modifiers:
    NoteModifier: {text: two, group: mine, update: 0.5, end: 7}
args:
other_stage:
  more_modifiers:
    NoteModifier: {}
)";

TEST_F(RecipeTest, KeepsItsModifiersInOrder) {
  const Recipe recipe = Recipe::parse(kTwoStages, "recipe.yaml");
  EXPECT_EQ(steps_of(recipe),
            (std::vector<std::string>{"quant/first NoteModifier(one)", "quant/first SpinQuantModifier",
                                      "quant/second NoteModifier(two)", "other/more NoteModifier(none)"}));
  const ModifierFields& one = recipe.steps()[0].modifier->fields;
  EXPECT_EQ(one.start, 0);
  EXPECT_EQ(one.index, 3);
  EXPECT_EQ(one.group, "first");
  EXPECT_EQ(one.end, std::nullopt);
  const ModifierFields& two = recipe.steps()[2].modifier->fields;
  EXPECT_EQ(two.group, "mine") << "a group of its own replaces the one it stands in";
  EXPECT_EQ(two.update, 0.5);
  EXPECT_EQ(two.end, 7);
}

TEST_F(RecipeTest, ReadsWhatItWrites) {
  const Recipe recipe = Recipe::parse(kTwoStages, "recipe.yaml");
  const std::string written = recipe.yaml();
  const Recipe again = Recipe::parse(written, "again.yaml");
  EXPECT_EQ(again.yaml(), written);
  EXPECT_EQ(steps_of(again), steps_of(recipe));
  EXPECT_EQ(again.steps()[2].modifier->fields.group, "mine");
}

TEST_F(RecipeTest, WritesAsLlmCompressorDoes) {
  const Recipe recipe =
      Recipe::parse("default_stage: {default_modifiers: {NoteModifier: {counts: [1, 2], start: 1}}}", "");
  EXPECT_EQ(recipe.yaml(),
            "default_stage:\n"
            "  default_modifiers:\n"
            "    NoteModifier:\n"
            "      requires_calibration_data: false\n"
            "      start: 1.0\n"
            "      text: none\n"
            "      counts: [1, 2]\n")
      << "nulls are left out";
}

TEST_F(RecipeTest, ReadsYamlJsonAndModelCards) {
  const testing::TemporaryDirectory directory;
  const std::pair<const char*, const char*> files[] = {
      {"a.yaml", "x_stage:\n  y_modifiers:\n    NoteModifier: {text: a}\n"},
      {"b.yml", "x_stage:\n  y_modifiers:\n    NoteModifier: {text: b}\n"},
      {"c.json", "{\"x_stage\": {\"y_modifiers\":\n\t{\"NoteModifier\": {\"text\": \"c\"}}}}"},
      {"d.yaml", "{\"x_stage\": {\"y_modifiers\": {\"NoteModifier\": {\"text\": \"d\"}}}}"},
      {"e.md", "---\nx_stage:\n  y_modifiers:\n    NoteModifier: {text: e}\n---\n# Card\n--- and more\n"},
      {"f.md", "+++\nx_stage: {y_modifiers: {NoteModifier: {text: f}}}\n+++\n"},
  };
  for (const auto& [name, text] : files) {
    write_text(directory / name, text);
    EXPECT_EQ(steps_of(Recipe::load(directory / name)),
              std::vector<std::string>{"x/y NoteModifier(" + std::string(1, name[0]) + ")"});
  }
  write_text(directory / "g.md", "# Card\nno recipe\n---\n");
  EXPECT_EQ(message_of([&] { Recipe::load(directory / "g.md"); }, directory.path()),
            "g.md: has no recipe between two lines of ---");
  write_text(directory / "h.md", "# Card\n\n---\nx_stage:\n  y_modifiers:\n    Note: {}\n---\n");
  EXPECT_EQ(message_of([&] { Recipe::load(directory / "h.md"); }, directory.path()).substr(0, 7), "h.md:6:");
}

TEST_F(RecipeTest, FilesThatItNamesAreBesideIt) {
  const testing::TemporaryDirectory directory;
  const auto named = [&](const char* file) {
    write_text(directory / "a.yaml",
               std::string("x_stage: {y_modifiers: {SpinQuantModifier: {rotation_file: ") + file + "}}}");
    return Recipe::load(directory / "a.yaml").steps().front().modifier->arguments()["rotation_file"];
  };
  EXPECT_EQ(named("own.safetensors"), (directory / "own.safetensors").string());
  EXPECT_EQ(named("../own.safetensors"), (directory.path().parent_path() / "own.safetensors").string());
  EXPECT_EQ(named("/data/own.safetensors"), "/data/own.safetensors");
}

TEST_F(RecipeTest, ReadsStagesThatLlmCompressorRenamed) {
  const Recipe recipe = Recipe::parse(
      "default_stage_0: {default_modifiers: {NoteModifier: }}\ndefault_stage_1: {default_modifiers: {NoteModifier: }}",
      "");
  EXPECT_EQ(steps_of(recipe),
            (std::vector<std::string>{"default_0/default NoteModifier(none)", "default_1/default NoteModifier(none)"}));
  EXPECT_EQ(steps_of(Recipe::parse(recipe.yaml(), "")), steps_of(recipe)) << "and names them so that it does, too";
}

TEST_F(RecipeTest, RefusesWhatItDoesNotUnderstand) {
  const char* const example = "write default_stage: {default_modifiers: {SpinQuantModifier: {rotations: [R1, R2]}}}";
  const auto in_group = [](const std::string& modifiers) { return "a_stage:\n  b_modifiers:\n" + modifiers; };
  struct Row {
    std::string text, message;
  };
  const Row rows[] = {
      {in_group("    SpinQuantModifier:\n      rotation: [R1]"),
       "recipe.yaml:4: unknown key 'rotation' in SpinQuantModifier; did you mean 'rotations'?"},
      {in_group("    SpinQuantModifier:\n      strat: 0"),
       "recipe.yaml:4: unknown key 'strat' in SpinQuantModifier; did you mean 'start'?"},
      {in_group("    NoteModifier: {initialized_: true}"),
       "recipe.yaml:3: unknown key 'initialized_' in NoteModifier; known: requires_calibration_data, index, group, "
       "start, "
       "end, update, text, counts, any"},
      {in_group("    NoteModifier:\n      counts: [1,\n        x]"),
       "recipe.yaml:5: NoteModifier.counts[1] must be an integer, not \"x\""},
      {in_group("    NoteModifier: [1]"), "recipe.yaml:3: NoteModifier must be a map, not [1]"},
      {in_group("    NoteModifier:\n      text: bad"), "recipe.yaml:4: the text is bad"},
      {in_group("    SpinquantModifer: {}"),
       "recipe.yaml:3: no modifier is called 'SpinquantModifer'; did you mean 'SpinQuantModifier'?"},
      {in_group("    AWQModifier: {scheme: W4A16}"),
       "recipe.yaml:3: AWQModifier is not supported yet; remove it from the recipe"},
      {in_group("    GPTQModifer: {}"),
       "recipe.yaml:3: no modifier is called 'GPTQModifer'; did you mean 'GPTQModifier'?"},
      {"run_type: oneshot\nNoteModifier: {}",
       "recipe.yaml:2: NoteModifier must stand in a group of modifiers in a stage; " + std::string(example)},
      {"a_stage: {NoteModifier: {}}",
       "recipe.yaml:1: NoteModifier must stand in a group of modifiers in a stage; " + std::string(example)},
      {"a_stages: {}", "recipe.yaml:1: unknown key 'a_stages' in the recipe; its keys end in _stage"},
      {"a_stage:\n  b_modifier: {}", "recipe.yaml:2: unknown key 'b_modifier' in a_stage; its keys end in _modifiers"},
      {"a_stage:\n  b_modifiers: [NoteModifier]",
       "recipe.yaml:2: a_stage.b_modifiers must be a map; " + std::string(example)},
      {"a_stage:", "recipe.yaml:1: a_stage must be a map; " + std::string(example)},
      {"a_stage:\n  run_type: train", "recipe.yaml:2: run_type must be oneshot: spinor does not train"},
      {"args: {x: 1}", "recipe.yaml:1: args are not substituted into a recipe; write their values where they are used"},
      {"a_stage: {}", "recipe.yaml:1: has no modifiers; " + std::string(example)},
      {"", "recipe.yaml: is no recipe, which is a map of stages; " + std::string(example)},
      {"- a", "recipe.yaml:1: is no recipe, which is a map of stages; " + std::string(example)},
      {in_group("    NoteModifier: {}\n    NoteModifier: {}"), "recipe.yaml:4: duplicate key 'NoteModifier'"},
  };
  for (const Row& row : rows) EXPECT_EQ(refusal(row.text), row.message) << row.text;
  EXPECT_EQ(refusal("{\"a_stage\": {\"b\": 1}}", "recipe.json"),
            "recipe.json: unknown key 'b' in a_stage; its keys end in _modifiers");
}

std::unique_ptr<Modifier> note(std::string text, std::optional<std::string> group = {}) {
  auto modifier = std::make_unique<NoteModifier>(NoteModifier::Arguments{.text = std::move(text)});
  modifier->fields.group = std::move(group);
  return modifier;
}

TEST_F(RecipeTest, TakesModifiersOfAProgram) {
  Recipe recipe;
  for (const char* text : {"a", "b"}) recipe.add(note(text));
  recipe.add(note("c", "x"));
  recipe.add(note("d", "default"));
  recipe.add(note("e", "x"));
  EXPECT_EQ(steps_of(recipe),
            (std::vector<std::string>{"default/default NoteModifier(a)", "default_1/default NoteModifier(b)",
                                      "default_1/x NoteModifier(c)", "default_2/default NoteModifier(d)",
                                      "default_2/x NoteModifier(e)"}));
  EXPECT_EQ(steps_of(Recipe::parse(recipe.yaml(), "")), steps_of(recipe)) << "written down they keep their order";
}

TEST_F(RecipeTest, NamesOfModifiersAreTakenOnce) {
  for (const char* name : {"NoteModifier", "SpinQuantModifier", "GPTQModifier", "AWQModifier"}) {
    EXPECT_EQ(message_of([&] { register_modifier_type({name, make_modifier<NoteModifier>}); }),
              std::string(name) + ": is the name of a modifier already; choose another name");
  }
}

}  // namespace
}  // namespace spinor::recipe_test
