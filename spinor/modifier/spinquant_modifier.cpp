#include "spinor/modifier/spinquant_modifier.h"

#include <algorithm>
#include <filesystem>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/modifier/rotation_file.h"
#include "spinor/transform/automatic_type.h"

namespace spinor {
namespace {

RotateOptions options_of(const SpinQuantArguments& arguments) {
  const bool compat = arguments.compat == Compat::llm_compressor;
  return {.spin = {.rotations = arguments.rotations,
                   .transform_type = arguments.transform_type,
                   .randomize = arguments.randomize,
                   .precision = arguments.precision,
                   .transform_block_size = arguments.transform_block_size,
                   .mappings = arguments.mappings,
                   .seed = arguments.seed,
                   .vision = arguments.vision,
                   .llm_compressor_compat = compat},
          .transform_config = arguments.transform_config,
          .norm_mappings = arguments.norm_mappings,
          .center_embeddings = arguments.center_embeddings || compat,
          .mtp = arguments.mtp};
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
  if (!arguments_.mtp) json.erase("mtp");
  if (arguments_.seeds == 1) json.erase("seeds");
  record_file(arguments_, recorded_as_, json);
  return json;
}

void SpinQuantModifier::read_in(const std::filesystem::path& directory) {
  begin_in(directory, arguments_.rotation_file);
}

std::optional<Learnable::Request> SpinQuantModifier::to_learn(const Model& model) const {
  if (!wants_learning(arguments_) && arguments_.seeds == 1) return {};
  Request request{options_of(arguments_), arguments_.seeds, wants_learning(arguments_), arguments_.learning};
  if (arguments_.rotation_file)
    request.start.spin.given =
        read_rotations(*arguments_.rotation_file, model, arguments_.rotation_digest.value_or(""));
  if (!arguments_.learnable && request.learnable)
    request.learning.rotations = with_requires_grad(request.start.transform_config);
  clear_requires_grad(request.start.transform_config);
  transforms_of(model, request.start);  // an error now, not after the learning
  return request;
}

void SpinQuantModifier::take_learned(const Found& found) {
  arguments_.seeds = 1;
  if (found.seed) arguments_.seed = found.seed;
  take_found(found, arguments_, recorded_as_);
}

void SpinQuantModifier::require_learned() const {
  if (wants_learning(arguments_))
    throw Error("SpinQuantModifier", "learnable: true takes a text to learn from",
                "give --calibration FILE to rotate, quantize or compare");
  if (arguments_.seeds > 1)
    throw Error("SpinQuantModifier", "seeds takes a text to choose one by",
                "give --calibration FILE to rotate, quantize or compare");
}

void SpinQuantModifier::prepare(const Model& model, RewritePlan&, Warnings&) {
  require_learned();
  options_ = options_of(arguments_);
  // The strict reading says why this architecture is not known and what to do about it.
  if (!RotateOperationRegistry::rotates(model, options_)) Model::describe(model.checkpoint());
  options_.spin.given = read_recorded(arguments_.rotation_file, arguments_.rotation_digest, model);
  std::optional<TransformConfig> config = transforms_of(model, options_);
  if (!config) return;  // a program's operations rotate this class
  if (!arguments_.transform_config) {
    const std::vector<Spin>& rotations = arguments_.rotations;
    // Recorded as a choice of its own, because the filled in transform_config alone would fold them.
    if (!rotations.empty() && !contains(rotations, Spin::R1) && !options_.center_embeddings)
      arguments_.norm_mappings = options_.norm_mappings.emplace();
    if (is_automatic(arguments_.transform_type)) arguments_.transform_type = type_of_groups(*config);
  }
  arguments_.transform_config = options_.transform_config = std::move(config);
}

void SpinQuantModifier::rewrite(const Model& model, RewritePlan& plan, Warnings& warnings) {
  append(warnings, rotate_model(model, plan, options_));
}

}  // namespace spinor
