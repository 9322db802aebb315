// One call that rotates a model: the operations registered for its class, one after the other. Those of an architecture
// that spinor knows are there; a program registers its own:
//
//   RotateOperationRegistry::register_operation("AbcForCausalLM", first_operation);
//   RotateOperationRegistry::register_operation("AbcForCausalLM", second_operation);
//   rotate_model(model, plan, {.spin = {.transform_type = "random-hadamard"}});
#pragma once

#include <any>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/transform/spinquant.h"

namespace spinor {

// Every operation gets them as they are given to rotate_model.
struct RotateOptions {
  SpinQuantOptions spin = {};
  std::map<std::string, std::any> extra = {};  // what operations of one's own want to be told
};

// Adds edits to the plan. It sees those of the operations before it.
using RotateOperation = std::function<void(const Model& model, RewritePlan& plan, const RotateOptions& options)>;

class RotateOperationRegistry {
 public:
  // Appends to the operations of a model class, exactly as config.json's `architectures` names it. Not thread-safe.
  static void register_operation(const std::string& model_class, RotateOperation operation);
  // In the order of registration. Of every class that has an architecture (its row may be the user's) the first are:
  // fold the norms (if R1 is asked for, or nothing); then R1, R2 head by head, R3, R4 and R1 of the vision towers,
  // those that options.spin asks for. Error, which says how to register one, where there are none.
  static std::vector<RotateOperation> operations_of(const Model& model);
};

// Runs the operations of the model's class. Then, what they did must leave the function alone: check_cancels(), for a
// class without an architecture only if options.spin.mappings says who reads and writes its residual stream. After an
// Error the plan is as it was.
void rotate_model(const Model& model, RewritePlan& plan, const RotateOptions& options = {});

}  // namespace spinor
