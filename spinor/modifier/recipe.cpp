#include "spinor/modifier/recipe.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/yaml.h"
#include "spinor/base/yaml_writer.h"
#include "spinor/io/file.h"
#include "spinor/modifier/modifier_types.h"
#include "spinor/modifier/older_keys.h"

namespace spinor {
namespace {

constexpr int64_t kMaxBytes = 16 << 20;
constexpr const char* kExample = "write default_stage: {default_modifiers: {SpinQuantModifier: {rotations: [R1, R2]}}}";

// "default_stage" is the stage default; "default_stage_0", what llm-compressor's merging makes of it, is default_0.
std::optional<std::string> stage_name(std::string_view key) {
  const size_t stage = key.rfind("_stage");
  if (stage == std::string_view::npos) return {};
  const std::string_view count = key.substr(stage + 6);
  const bool counted = count.size() > 1 && count[0] == '_' &&
                       std::ranges::all_of(count.substr(1), [](unsigned char c) { return std::isdigit(c); });
  if (!count.empty() && !counted) return {};
  return std::string(key.substr(0, stage)) + std::string(count);
}

std::optional<std::string> group_name(std::string_view key) {
  if (!key.ends_with("_modifiers")) return {};
  return std::string(key.substr(0, key.size() - 10));
}

// Keys that recipes in circulation have and that ask for nothing: run_type: oneshot, and args without a value.
bool asks_for_nothing(const std::string& key, const Json& value, const Place& place) {
  if (key == "run_type") {
    if (value != "oneshot") place.fail("run_type must be oneshot: spinor does not train");
    return true;
  }
  if (key == "args") {
    if (!value.empty()) place.fail("args are not substituted into a recipe", "write their values where they are used");
    return true;
  }
  return false;
}

[[noreturn]] void refuse_key(const std::string& key, std::string_view parent, std::string_view ending,
                             const Place& place) {
  if (is_modifier_name(key)) place.fail(key + " must stand in a group of modifiers in a stage", kExample);
  place.fail("unknown key '" + key + "' in " + std::string(parent), "its keys end in " + std::string(ending));
}

// A group that stands where llm-compressor's older recipes had a list of modifiers.
void expect_map(const Json& json, const std::string& key, const Place& place) {
  if (!json.is_object()) place.fail(key + " must be a map", kExample);
}

// The recipe in a model card: what stands between the first two fences, on the lines where it stands.
std::string front_matter(std::string_view text, const std::string& subject) {
  const auto fence = [&](size_t from) {
    for (size_t at = from; at < text.size(); at = text.find('\n', at) + 1) {
      const std::string_view line = text.substr(at, text.find('\n', at) - at);
      if (line.starts_with("---") || line.starts_with("+++")) return at;
      if (text.find('\n', at) == std::string_view::npos) break;
    }
    return std::string_view::npos;
  };
  const size_t begin = fence(0);
  const size_t end = begin == std::string_view::npos ? begin : fence(begin + 3);
  if (end == std::string_view::npos) throw Error(subject, "has no recipe between two lines of ---");
  std::string recipe(
      static_cast<size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n')), '\n');
  return recipe.append(text.substr(begin + 3, end - begin - 3));
}

bool same_place(const RecipeStep& a, const RecipeStep& b) {
  return a.stage == b.stage && a.group == b.group;
}

Json arguments_of(const RecipeStep& step) {
  ModifierFields fields = step.modifier->fields;
  if (fields.group == step.group) fields.group.reset();
  Json arguments = write_fields(fields);
  arguments.update(step.modifier->arguments());
  for (auto item = arguments.begin(); item != arguments.end();)
    item = item->is_null() ? arguments.erase(item) : std::next(item);
  return arguments;
}

}  // namespace

Recipe Recipe::load(const std::filesystem::path& file) {
  const std::string text = read_text(file, kMaxBytes), subject = file.string();
  Recipe recipe = parse(file.extension() == ".md" ? front_matter(text, subject) : text, subject);
  for (const RecipeStep& step : recipe.steps_) step.modifier->read_in(std::filesystem::absolute(file).parent_path());
  return recipe;
}

Recipe Recipe::parse(std::string_view text, std::string_view subject) {
  const Document document = subject.ends_with(".json") ? Document{parse_json(text, subject), std::string(subject), {}}
                                                       : parse_yaml(text, subject);
  const Place root{"", document.subject, &document.lines};
  if (!document.value.is_object()) root.fail("is no recipe, which is a map of stages", kExample);
  Recipe recipe;
  for (const auto& [key, value] : document.value.items()) {
    const Place place = root.key(key);
    if (const auto stage = stage_name(key))
      recipe.add_stage(*stage, value, place);
    else if (!asks_for_nothing(key, value, place))
      refuse_key(key, "the recipe", "_stage", place);
  }
  if (recipe.steps_.empty()) root.fail("has no modifiers", kExample);
  return recipe;
}

void Recipe::add_stage(const std::string& name, const Json& stage, const Place& place) {
  expect_map(stage, place.name, place);
  for (const auto& [key, value] : stage.items()) {
    const Place inside = place.key(key);
    if (const auto group = group_name(key))
      add_group(name, *group, value, inside);
    else if (!asks_for_nothing(key, value, inside))
      refuse_key(key, place.name, "_modifiers", inside);
  }
}

void Recipe::add_group(const std::string& stage, const std::string& name, const Json& group, const Place& place) {
  expect_map(group, place.name, place);
  for (const auto& [key, value] : group.items()) {
    Place inside = place.key(key);
    inside.name = key;
    const ModifierType& type = find_modifier_type(key, inside);
    const Json arguments = value.is_null() ? Json::object() : value;
    RecipeStep step{stage, name, type.make(without_older_keys(key, arguments, inside), inside)};
    if (!step.modifier->fields.group) step.modifier->fields.group = name;
    steps_.push_back(std::move(step));
  }
}

bool Recipe::has_stage(std::string_view name) const {
  return std::ranges::find(steps_, name, &RecipeStep::stage) != steps_.end();
}

// A stage holds a group once, and a group holds a modifier once.
void Recipe::add(std::unique_ptr<Modifier> modifier) {
  if (!modifier->fields.group) modifier->fields.group = "default";
  RecipeStep step{steps_.empty() ? "default" : steps_.back().stage, *modifier->fields.group, std::move(modifier)};
  const auto clashes = [&](const RecipeStep& other) {
    return same_place(other, step) &&
           (!same_place(other, steps_.back()) || other.modifier->name() == step.modifier->name());
  };
  if (std::ranges::any_of(steps_, clashes)) {
    int count = 1;
    while (has_stage("default_" + std::to_string(count))) ++count;
    step.stage = "default_" + std::to_string(count);
  }
  steps_.push_back(std::move(step));
}

void Recipe::begin() {
  if (std::exchange(begun_, true)) throw Error("recipe", "has run already", "read it again, or make another one");
}

std::string Recipe::yaml() const {
  Json recipe = Json::object();
  for (const RecipeStep& step : steps_) {
    recipe[step.stage + "_stage"][step.group + "_modifiers"][step.modifier->name()] = arguments_of(step);
  }
  return to_yaml(recipe);
}

}  // namespace spinor
