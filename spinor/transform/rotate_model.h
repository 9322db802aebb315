// One call that rotates a model, whether a recipe's SpinQuantModifier makes it or a program: the operations registered
// for its class, one after the other. That of an architecture that spinor knows is there; a program registers its own:
//
//   RotateOperationRegistry::register_operation("AbcForCausalLM", first_operation);
//   RotateOperationRegistry::register_operation("AbcForCausalLM", second_operation);
//   rotate_model(model, plan, {.spin = {.transform_type = "random-hadamard"}});
#pragma once

#include <any>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"
#include "spinor/transform/spinquant.h"

namespace spinor {

// What becomes of the layers for multi-token prediction.
enum class Mtp { drop, approximate };
std::span<const EnumName<Mtp>> enum_names(Mtp);

// Every operation gets them as they are given to rotate_model.
struct RotateOptions {
  SpinQuantOptions spin = {};
  // In the place of the groups that spin makes. Norms are folded then, whatever it rotates.
  std::optional<TransformConfig> transform_config = {};
  // null: norm_reads_of(); none: no norm is folded.
  std::optional<std::vector<NormMapping>> norm_mappings = {};
  bool center_embeddings = false;              // before all else: changes the function of an RMSNorm model
  std::optional<Mtp> mtp = {};                 // null: an error where multi-token prediction cannot be exact
  std::map<std::string, std::any> extra = {};  // what operations of one's own want to be told
};

// Adds edits to the plan. It sees those of the operations before it.
using RotateOperation = std::function<void(const Model& model, RewritePlan& plan, const RotateOptions& options)>;

class RotateOperationRegistry {
 public:
  // Appends to the operations of a model class, exactly as config.json's `architectures` names it. Not thread-safe.
  static void register_operation(const std::string& model_class, RotateOperation operation);
  // Whether there is any.
  static bool rotates(const Model& model, const RotateOptions& options = {});
  // In the order of registration. Of every class that has an architecture (its row may be the user's) the first is
  // SpinQuant's: untie, centre embeddings and fold norms as far as the options ask for it (norms if R1 is asked for, or
  // nothing); then R1, R2 head by head, R3, R4 and R1 of the vision towers, those that they ask for. It is also that of
  // a class for which nothing is registered, if the options have both mappings. Error, which says how to register one,
  // where there are none.
  static std::vector<RotateOperation> operations_of(const Model& model, const RotateOptions& options = {});
};

// What SpinQuant's operation would apply: the options' transform_config with their given matrices and seed, or
// spinquant(). Nothing if it is not among the operations. Error if it would change the model: require_legal().
std::optional<TransformConfig> transforms_of(const Model& model, const RotateOptions& options);

// Runs the operations of the model's class. Then, what they did must leave the function alone: check_cancels(), for a
// class without an architecture only if options.spin.mappings says who reads and writes its residual stream. Returns
// what the user should read. Error for options that only SpinQuant's operation follows, where it is not among them.
// After an Error the plan is as it was.
std::vector<std::string> rotate_model(const Model& model, RewritePlan& plan, const RotateOptions& options = {});

}  // namespace spinor
