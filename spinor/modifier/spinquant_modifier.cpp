#include "spinor/modifier/spinquant_modifier.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "spinor/base/error.h"
#include "spinor/model/match.h"
#include "spinor/transform/apply.h"
#include "spinor/transform/automatic_type.h"
#include "spinor/transform/cancel.h"
#include "spinor/transform/legality.h"
#include "spinor/transform/mtp.h"
#include "spinor/transform/paired.h"

namespace spinor {
namespace {

bool has(const std::vector<Spin>& rotations, Spin spin) {
  return std::ranges::find(rotations, spin) != rotations.end();
}

SpinQuantOptions options_of(const SpinQuantArguments& arguments) {
  SpinQuantOptions options;
  options.rotations = arguments.rotations;
  options.transform_type = arguments.transform_type;
  options.randomize = arguments.randomize;
  options.precision = arguments.precision;
  options.transform_block_size = arguments.transform_block_size;
  options.mappings = arguments.mappings;
  options.seed = arguments.seed;
  options.vision = arguments.vision;
  options.llm_compressor_compat = arguments.compat == Compat::llm_compressor;
  return options;
}

template <typename E>
bool has_edit(const TensorPlan& tensor) {
  return std::ranges::any_of(tensor.edits, [](const Edit& edit) { return std::holds_alternative<E>(edit); });
}

// By the tensor of a linear, the norm it reads through; only norms that are folded, and not those of multi-token
// prediction, which check_cancels() looks at.
std::map<std::string, std::string> readers_of_folded_norms(const Model& model, const RewritePlan& plan) {
  std::set<std::string> folded;
  for (const TensorPlan& tensor : plan.tensors())
    if (has_edit<Fill>(tensor)) folded.insert(tensor.name);
  std::map<std::string, std::string> norm_of;
  for (const Stream* stream : model.streams())
    for (const NormReads& reads : stream->norm_reads) {
      const std::string norm = reads.norm->name + ".weight";
      if (!folded.contains(norm) || reads.norm->role == Role::mtp) continue;
      for (const Module* linear : reads.linears) norm_of[weight_name(*linear)] = norm;
    }
  return norm_of;
}

std::vector<std::string> norms_folded_into(const TensorPlan& tensor) {
  std::vector<std::string> norms;
  for (const Edit& edit : tensor.edits)
    if (const auto* fold = std::get_if<FoldNorm>(&edit))
      norms.push_back(fold->norm);
    else if (const auto* biased = std::get_if<FoldNormWithBias>(&edit))
      norms.push_back(biased->norm);
  return norms;
}

// A norm is to be folded into each linear that reads through it, and into no other. Norm mappings of the user may say
// otherwise, and without a rotation no product of edits shows it.
void check_folds(const Model& model, const RewritePlan& plan) {
  const auto norm_of = readers_of_folded_norms(model, plan);
  for (const TensorPlan& tensor : plan.tensors()) {
    if (model.role(tensor.name) == Role::mtp) continue;
    const auto found = norm_of.find(tensor.name);
    const std::vector<std::string> norms = norms_folded_into(tensor);
    if (found != norm_of.end() && norms.empty())
      throw Error(tensor.name, "reads through " + found->second + ", which is folded into other linears only",
                  "name it in the norm mapping");
    for (const std::string& norm : norms)
      if (found == norm_of.end() || norm != found->second)
        throw Error(tensor.name, "does not read through " + norm + ", which a norm mapping folds into it",
                    "remove it from the norm mapping");
  }
}

// A linear that reads or writes a rotated residual stream and is not rotated breaks the model; of an unknown
// architecture only the user knows whether it does.
void warn_of_omissions(const Model& model, const SpinQuantMapping& mapping, State& state) {
  std::vector<std::string> targets = {mapping.embedding, mapping.attn_q, mapping.attn_k,
                                      mapping.attn_v,    mapping.attn_o, mapping.lm_head};
  targets.insert(targets.end(), mapping.mlp_in.begin(), mapping.mlp_in.end());
  targets.insert(targets.end(), mapping.mlp_out.begin(), mapping.mlp_out.end());
  const std::vector<std::string> linear = {"Linear"};
  for (const Module* module : match_modules(model, linear, targets)) {
    state.warn(module->name +
               ": no mapping names it, so it stays as it is; the result is wrong if it reads or writes the "
               "residual stream");
  }
}

void warn_of_approximation(const Model& model, const RewritePlan& plan, State& state) {
  const MtpFolding folding = mtp_folding(model);
  if (folding.fit == MtpFit::approximate &&
      !plan.find(weight_name(*model.mtp_heads().front().output_norm))->edits.empty())
    state.warn("multi-token prediction is approximated: " + folding.reason +
               "; all its norms but the final one divide by an approximate length");
}

}  // namespace

SpinQuantModifier::SpinQuantModifier(SpinQuantArguments arguments, const Place& place)
    : arguments_(std::move(arguments)) {
  check_arguments(arguments_, place);
}

Json SpinQuantModifier::arguments() const {
  Json json = write_fields(arguments_);
  // llm-compressor does not know these keys.
  if (!arguments_.center_embeddings) json.erase("center_embeddings");
  if (!arguments_.vision) json.erase("vision");
  if (!arguments_.rotation_file) json.erase("rotation_file");
  if (!arguments_.rotation_digest) json.erase("rotation_digest");
  if (!arguments_.mtp) json.erase("mtp");
  return json;
}

// What is recorded works from every directory.
GivenRotations SpinQuantModifier::read_given(const Model& model) {
  if (!arguments_.rotation_file) return {};
  const std::filesystem::path file = std::filesystem::absolute(*arguments_.rotation_file).lexically_normal();
  GivenRotations given = read_rotations(file, model, arguments_.rotation_digest.value_or(""));
  arguments_.rotation_file = file.string();
  arguments_.rotation_digest = given.digest;
  return given;
}

SpinQuantMapping SpinQuantModifier::mapping_for(const Model& model) const {
  return arguments_.mappings ? *arguments_.mappings : infer_mapping(model);
}

bool SpinQuantModifier::on_initialize(State& state, const ExtraArguments&) {
  require_model(state);
  const Model& model = *state.model;
  const bool both = arguments_.mappings && arguments_.norm_mappings;
  // The strict reading says why this architecture is not known and what to do about it.
  if (model.architecture() == nullptr && !both) Model::describe(model.checkpoint());
  GivenRotations given = read_given(model);
  if (arguments_.transform_config) {
    use_given(given, model, *arguments_.transform_config);
  } else {
    const std::vector<Spin>& rotations = arguments_.rotations;
    // Recorded as a choice of its own, because the filled in transform_config alone would fold them.
    if (!rotations.empty() && !has(rotations, Spin::R1) && !centers()) arguments_.norm_mappings.emplace();
    if (model.architecture()) require_legal(model, rotations);
    SpinQuantOptions options = options_of(arguments_);
    options.given = std::move(given);
    arguments_.transform_config = spinquant(model, options);
    if (is_automatic(arguments_.transform_type))
      arguments_.transform_type = type_of_groups(*arguments_.transform_config);
  }
  for (auto& [group, scheme] : arguments_.transform_config->config_groups) {
    if (!scheme.seed) scheme.seed = arguments_.seed;
  }
  return true;
}

void SpinQuantModifier::rewrite(State& state, RewritePlan& plan) {
  const Model& model = *state.model;
  const TransformConfig& config = *arguments_.transform_config;
  const auto& norms = arguments_.norm_mappings;
  const bool folds = !norms || !norms->empty();
  plan.ask_for(arguments_.precision);
  if (folds || centers() || edits_ends(config, model)) plan.untie();
  if (centers())
    center_embeddings(model, plan, arguments_.mappings ? arguments_.mappings->embedding : model.embedding()->name);
  if (folds) fold_norms(model, plan, norms.value_or(std::vector<NormMapping>()));
  fold_tower_norms(model, plan, config);
  if (arguments_.mtp == Mtp::drop) plan.drop_mtp();
  apply(config, model, plan);
  if (model.architecture() != nullptr) check_folds(model, plan);
  // Of a known architecture the table knows better than a mapping who reads and writes the residual stream.
  const CancelOptions options{.any_stream_matrix = arguments_.compat == Compat::llm_compressor,
                              .approximate_mtp = arguments_.mtp == Mtp::approximate};
  if (model.architecture())
    check_cancels(plan, options);
  else
    check_cancels(plan, mapping_for(model), options);
  if (model.architecture() == nullptr) warn_of_omissions(model, mapping_for(model), state);
  if (arguments_.mtp == Mtp::approximate) warn_of_approximation(model, plan, state);
}

}  // namespace spinor
