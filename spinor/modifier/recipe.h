// A recipe: modifiers in the order they act, in llm-compressor's grammar.
//
//   default_stage:                 # any name ending in _stage
//     default_modifiers:           # any name ending in _modifiers
//       SpinQuantModifier:         # nothing: every argument has its default
//         rotations: [R1, R2]
//
// Two things are read that llm-compressor ignores or refuses: stages that its merging of recipes renamed
// (default_stage_0), and modifiers without arguments. What llm-compressor ignores silently is an Error here.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spinor/modifier/modifier.h"

namespace spinor {

// A modifier and where it stands in the recipe, the names without _stage and _modifiers.
struct RecipeStep {
  std::string stage, group;
  std::unique_ptr<Modifier> modifier;
};

class Recipe {
 public:
  // .yaml, .yml, .json, or .md with the recipe between its first two lines of --- or +++. Files that it names by
  // relative paths are beside it. Errors name file and line.
  static Recipe load(const std::filesystem::path& file);
  // YAML or JSON. `subject` is what messages call the text.
  static Recipe parse(std::string_view text, std::string_view subject);

  // Appends a modifier: to the last stage ("default" at first), or to a new one where that could not say the order.
  void add(std::unique_ptr<Modifier> modifier);
  // The same for a modifier made of its arguments: recipe.add<SpinQuantModifier>({.transform_type = "auto"}).
  template <class M>
  void add(typename M::Arguments arguments) {
    add(std::make_unique<M>(std::move(arguments)));
  }

  const std::vector<RecipeStep>& steps() const { return steps_; }

  // Says that it runs, which a recipe does once: its modifiers keep what they did. Error the second time.
  void begin();

  // What parse() reads as this recipe: each modifier with all its arguments as they are now, nulls left out.
  std::string yaml() const;

 private:
  void add_stage(const std::string& name, const Json& stage, const Place& place);
  void add_group(const std::string& stage, const std::string& name, const Json& group, const Place& place);
  bool has_stage(std::string_view name) const;

  std::vector<RecipeStep> steps_;
  bool begun_ = false;
};

}  // namespace spinor
