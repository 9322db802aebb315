// The same operation on modules of different classes: what it does to the tensors of each is looked up, so that whoever
// rotates a model need not ask what its modules are.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "spinor/plan/plan.h"

namespace spinor {

enum class ModuleSide { input, output };

// m is a module, x and m(x) are rows. R is repeated along the diagonal where its size divides the side. `label` is R's
// name in RewritePlan::text(). Edits are appended to the plan.
//                              rotate_output             rotate_input
//   linear, part of a linear   W <- R^T W, b <- b R      W <- W R^T (not of a part)
//   embedding                  E <- E R                  E <- R E
class AutoOperation {
 public:
  using Function = std::function<void(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label)>;

  // m'(x) = m(x) R. What writes to a residual stream, which becomes x R.
  static void rotate_output(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label);
  // m'(x) = m(x R). What reads a stream that became x R undoes it with R^-1: r.inverse().
  static void rotate_input(RewritePlan& plan, const Module& m, const Rotation& r, const std::string& label);

  // The same for the plan's module of this name. Error if it has none.
  static void rotate_output(RewritePlan& plan, std::string_view name, const Rotation& r, const std::string& label);
  static void rotate_input(RewritePlan& plan, std::string_view name, const Rotation& r, const std::string& label);

  // How modules of a class are rotated, and of its children that have no function of their own: Module::classes is
  // searched in its order. Whatever its class, a module of kind linear is a child of Linear, one of kind embedding of
  // Embedding. Error for a class that has its function already. Not thread-safe.
  static void register_operation(ModuleSide side, std::string class_name, Function function);
};

// Of the transposed matrix: "R1'" for "R1", and back.
std::string transposed_label(std::string_view label);

}  // namespace spinor
