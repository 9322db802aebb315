#include "spinor/transform/auto_operation.h"

#include <fmt/format.h>

#include <map>
#include <utility>
#include <vector>

#include "spinor/base/error.h"

namespace spinor {
namespace {

constexpr std::string_view name_of(ModuleSide side) {
  return side == ModuleSide::input ? "rotate_input" : "rotate_output";
}

void check_size(const Module& m, const Rotation& r, int64_t side, const std::string& label) {
  if (r.size() > 0 && side % r.size() == 0) return;
  throw Error(weight_name(m), fmt::format("{} of size {} does not divide its side of {}", label, r.size(), side),
              "rotate it by a matrix of this size, or by blocks that divide it");
}

void rotate_linear_output(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label) {
  check_size(m, r, m.shape.out, label);
  plan.edit_weight(m, MultiplyLeft{r.transposed(), transposed_label(label)});
  if (m.bias) plan.edit_bias(m, MultiplyRight{r, label});
}

void rotate_linear_input(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label) {
  check_size(m, r, m.shape.in, label);
  plan.edit_weight(m, MultiplyRight{r.transposed(), transposed_label(label)});
}

void rotate_embedding_output(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label) {
  check_size(m, r, m.shape.in, label);
  plan.edit_weight(m, MultiplyRight{r, label});
}

void rotate_embedding_input(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label) {
  check_size(m, r, m.shape.out, label);
  plan.edit_weight(m, MultiplyLeft{r, label});
}

using Key = std::pair<ModuleSide, std::string>;

std::map<Key, AutoOperation::Function>& operations() {
  using enum ModuleSide;
  static std::map<Key, AutoOperation::Function> functions = {
      {{output, "Linear"}, rotate_linear_output},
      {{input, "Linear"}, rotate_linear_input},
      {{output, "Embedding"}, rotate_embedding_output},
      {{input, "Embedding"}, rotate_embedding_input},
  };
  return functions;
}

// The class that modules of a kind have in common; empty for kinds without weights of two sides.
std::string class_of(ModuleKind kind) {
  using enum ModuleKind;
  if (kind == linear || kind == part) return "Linear";
  return kind == embedding ? "Embedding" : "";
}

// Every class is a child of Module, so what is known of the kind comes before it.
std::vector<std::string> classes_of(const Module& m) {
  std::vector<std::string> classes = m.classes;
  std::erase(classes, "Module");
  classes.push_back(class_of(m.kind));
  classes.emplace_back("Module");
  return classes;
}

void run(ModuleSide side, RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label) {
  for (std::string& name : classes_of(m))
    if (const auto found = operations().find({side, std::move(name)}); found != operations().end())
      return found->second(plan, m, r, label);
  throw Error(m.name,
              fmt::format("nobody has said what {} does to a {}", name_of(side),
                          m.classes.empty() ? "module without a class" : m.classes.front()),
              "say it with AutoOperation::register_operation");
}

const Module& module_at(const RewritePlan& plan, std::string_view name) {
  if (const Module* module = plan.model().find(name)) return *module;
  throw Error(std::string(name), "is not a module of the model", "spinor inspect lists the tensors of its modules");
}

}  // namespace

void AutoOperation::rotate_output(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label) {
  run(ModuleSide::output, plan, m, r, label);
}

void AutoOperation::rotate_input(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label) {
  run(ModuleSide::input, plan, m, r, label);
}

void AutoOperation::rotate_output(RewritePlan& plan, std::string_view name, const Rotation& r,
                                  const std::string& label) {
  run(ModuleSide::output, plan, module_at(plan, name), r, label);
}

void AutoOperation::rotate_input(RewritePlan& plan, std::string_view name, const Rotation& r,
                                 const std::string& label) {
  run(ModuleSide::input, plan, module_at(plan, name), r, label);
}

void AutoOperation::register_operation(ModuleSide side, std::string class_name, Function function) {
  if (class_name.empty() || !function) throw Error(std::string(name_of(side)), "needs a class and a function");
  const auto [row, is_new] = operations().emplace(Key{side, std::move(class_name)}, std::move(function));
  if (!is_new) throw Error(row->first.second, fmt::format("has its {} already", name_of(side)));
}

std::string transposed_label(std::string_view label) {
  if (label.ends_with('\'')) return std::string(label.substr(0, label.size() - 1));
  return std::string(label) + "'";
}

}  // namespace spinor
