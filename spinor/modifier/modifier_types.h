// The names of modifiers a recipe may use: a table name -> maker. A program can add its own:
//
//   class ScaleModifier : public Modifier {
//    public:
//     struct Arguments {
//       std::string target;
//       template <class Visitor>
//       void fields(Visitor& v) {
//         v("target", target, required);
//       }
//     };
//     // place.key("target").fail(...) is an Error that names the line of the recipe.
//     ScaleModifier(Arguments arguments, const Place& place);
//     std::string name() const override { return "ScaleModifier"; }
//     Json arguments() const override { return write_fields(arguments_); }
//     ...
//   };
//
//   register_modifier_type({"ScaleModifier", make_modifier<ScaleModifier>});
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "spinor/modifier/modifier.h"

namespace spinor {

// Makes a modifier from its arguments in a recipe, a map, at their place. Errors name the line of the key.
using ModifierMaker = std::function<std::unique_ptr<Modifier>(const Json& arguments, const Place& place)>;

struct ModifierType {
  std::string name;  // "SpinQuantModifier"
  ModifierMaker make;
};

// SpinQuantModifier, QuIPModifier, QuantizationModifier and GPTQModifier, then those added.
const std::vector<ModifierType>& modifier_types();
// For a program, before it reads recipes; a name that is there already, also of a modifier to come, is an Error. Not
// thread-safe.
void register_modifier_type(ModifierType type);
// Whether a recipe may mean a modifier by this name: also those that are known and not supported yet.
bool is_modifier_name(std::string_view name);
// Error at `place`: the nearest name, or that the modifier is not supported yet.
const ModifierType& find_modifier_type(std::string_view name, const Place& place);

// What a modifier has in a recipe: the fields every modifier has and its own, in one map.
template <class Own>
struct ModifierArguments {
  ModifierFields common;
  Own own;

  template <class Visitor>
  void fields(Visitor& v) {
    common.fields(v);
    own.fields(v);
  }
};

// The maker of a Modifier M with a struct M::Arguments that lists its fields, and a constructor M(Arguments, Place).
template <class M>
std::unique_ptr<Modifier> make_modifier(const Json& json, const Place& place) {
  auto arguments = read_fields<ModifierArguments<typename M::Arguments>>(json, place);
  auto modifier = std::make_unique<M>(std::move(arguments.own), place);
  modifier->fields = std::move(arguments.common);
  return modifier;
}

}  // namespace spinor
