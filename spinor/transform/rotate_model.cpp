#include "spinor/transform/rotate_model.h"

#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/model/match.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/given_scales.h"
#include "spinor/transform/legality.h"
#include "spinor/transform/mtp.h"
#include "spinor/transform/paired.h"

namespace spinor {
namespace {

constexpr EnumName<Mtp> kMtp[] = {{Mtp::drop, "drop"}, {Mtp::approximate, "approximate"}};

// What programs registered, by the class.
std::map<std::string, std::vector<RotateOperation>, std::less<>>& registered_operations() {
  static std::map<std::string, std::vector<RotateOperation>, std::less<>> operations;
  return operations;
}

const std::vector<RotateOperation>& operations_of_programs(const Model& model) {
  static const std::vector<RotateOperation> none;
  const auto found = registered_operations().find(model.architecture_name());
  return found == registered_operations().end() ? none : found->second;
}

bool spinquant_rotates(const Model& model, const RotateOptions& options) {
  const bool both = options.spin.mappings && options.norm_mappings;
  return model.architecture() || (both && operations_of_programs(model).empty());
}

bool asks_to_fold(const RotateOptions& options) {
  if (options.norm_mappings) return !options.norm_mappings->empty();
  const std::vector<Spin>& rotations = options.spin.rotations;
  return options.transform_config || options.center_embeddings || rotations.empty() || contains(rotations, Spin::R1);
}

// SpinQuant's operation.
void rotate_by_spinquant(const Model& model, RewritePlan& plan, const RotateOptions& options) {
  const TransformConfig config = *transforms_of(model, options);
  const std::optional<SpinQuantMapping>& mappings = options.spin.mappings;
  const bool folds = asks_to_fold(options);
  plan.ask_for(options.spin.precision);
  if (folds || options.center_embeddings || edits_ends(config, model)) plan.untie();
  if (options.center_embeddings)
    center_embeddings(model, plan, mappings ? mappings->embedding : model.embedding()->name);
  if (folds) fold_norms(model, plan, options.norm_mappings.value_or(std::vector<NormMapping>()));
  fold_tower_norms(model, plan, config);
  if (options.mtp == Mtp::drop) plan.drop_mtp();
  apply_scales(options.spin.given.scales, model, plan);
  apply_permutations(options.spin.given.permutations, model, plan);
  apply(config, model, plan);
}

// What nobody would follow must not be asked for.
void refuse_unfollowed(const Model& model, const RotateOptions& options) {
  const std::pair<const char*, bool> rows[] = {{"transform_config", options.transform_config.has_value()},
                                               {"norm_mappings", options.norm_mappings.has_value()},
                                               {"center_embeddings", options.center_embeddings},
                                               {"mtp", options.mtp.has_value()},
                                               {"vision", options.spin.vision},
                                               {"scales", !options.spin.given.scales.empty()},
                                               {"permutations", !options.spin.given.permutations.empty()}};
  for (const auto& [name, is_given] : rows)
    if (is_given)
      throw Error(name,
                  "does nothing for " + std::string(model.architecture_name()) +
                      ", a class that the operations rotate which a program registered for it",
                  "leave it out");
}

// Of a known architecture its row knows better than a mapping who reads and writes the residual stream.
void check_rotated(const Model& model, const RewritePlan& plan, const RotateOptions& options) {
  const CancelOptions cancel{.any_stream_matrix = options.spin.llm_compressor_compat,
                             .approximate_mtp = options.mtp == Mtp::approximate};
  if (model.architecture())
    check_cancels(plan, cancel);
  else if (options.spin.mappings)
    check_cancels(plan, *options.spin.mappings, cancel);
}

// A linear that reads or writes a rotated residual stream and is not rotated breaks the model; of an unknown
// architecture only the user knows whether it does.
void warn_of_omissions(const Model& model, const SpinQuantMapping& mapping, std::vector<std::string>& warnings) {
  std::vector<std::string> targets = {mapping.embedding, mapping.attn_q, mapping.attn_k,
                                      mapping.attn_v,    mapping.attn_o, mapping.lm_head};
  append(targets, mapping.mlp_in);
  append(targets, mapping.mlp_out);
  const std::vector<std::string> linear = {"Linear"};
  for (const Module* module : match_modules(model, linear, targets))
    warnings.push_back(module->name +
                       ": no mapping names it, so it stays as it is; the result is wrong if it reads or writes the "
                       "residual stream");
}

void warn_of_approximation(const Model& model, const RewritePlan& plan, std::vector<std::string>& warnings) {
  const MtpFolding folding = mtp_folding(model);
  if (folding.fit == MtpFit::approximate &&
      !plan.find(weight_name(*model.mtp_heads().front().output_norm))->edits.empty())
    warnings.push_back("multi-token prediction is approximated: " + folding.reason +
                       "; all its norms but the final one divide by an approximate length");
}

}  // namespace

std::span<const EnumName<Mtp>> enum_names(Mtp) {
  return kMtp;
}

void RotateOperationRegistry::register_operation(const std::string& model_class, RotateOperation operation) {
  if (model_class.empty() || !operation) throw Error("RotateOperationRegistry", "needs a model class and an operation");
  registered_operations()[model_class].push_back(std::move(operation));
}

bool RotateOperationRegistry::rotates(const Model& model, const RotateOptions& options) {
  return spinquant_rotates(model, options) || !operations_of_programs(model).empty();
}

std::vector<RotateOperation> RotateOperationRegistry::operations_of(const Model& model, const RotateOptions& options) {
  std::vector<RotateOperation> operations;
  if (spinquant_rotates(model, options)) operations.emplace_back(rotate_by_spinquant);
  append(operations, operations_of_programs(model));
  if (!operations.empty()) return operations;
  const std::string name(model.architecture_name());
  throw Error(name, "no operation that rotates this class of models is registered",
              "write one, void(const Model&, RewritePlan&, const RotateOptions&), and give it to "
              "RotateOperationRegistry::register_operation(\"" +
                  name + "\", ...)");
}

std::optional<TransformConfig> transforms_of(const Model& model, const RotateOptions& options) {
  if (!spinquant_rotates(model, options)) return {};
  TransformConfig config;
  if (options.transform_config) {
    config = *options.transform_config;
    use_given(options.spin.given, model, config);
  } else {
    if (model.architecture()) require_legal(model, options.spin.rotations);
    config = spinquant(model, options.spin);
  }
  for (auto& [group, scheme] : config.config_groups)
    if (!scheme.seed) scheme.seed = options.spin.seed;
  return config;
}

std::vector<std::string> rotate_model(const Model& model, RewritePlan& plan, const RotateOptions& options) {
  const std::vector<RotateOperation> operations = RotateOperationRegistry::operations_of(model, options);
  if (!spinquant_rotates(model, options)) refuse_unfollowed(model, options);
  RewritePlan rotated = plan;
  for (const RotateOperation& operation : operations) operation(model, rotated, options);
  check_rotated(model, rotated, options);
  plan = std::move(rotated);
  std::vector<std::string> warnings;
  if (!model.architecture() && options.spin.mappings) warn_of_omissions(model, *options.spin.mappings, warnings);
  if (options.mtp == Mtp::approximate) warn_of_approximation(model, plan, warnings);
  return warnings;
}

}  // namespace spinor
