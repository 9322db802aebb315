// The arguments of a SpinQuantModifier: llm-compressor's, spelled as there, and seed, seeds, learning,
// rotation_file, vision, center_embeddings, compat, mtp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/modifier/argument_fields.h"
#include "spinor/modifier/learning_arguments.h"
#include "spinor/transform/rotate_model.h"

namespace spinor {

// [r1, R2] in any case.
struct SpinList {
  std::vector<Spin>& list;
};
void read_value(const Json& json, SpinList out, const Place& place);
void to_json(Json& json, const SpinList& spins);

struct SpinQuantArguments {
  // Order and repetition do not matter; none: norms are folded, no more.
  std::vector<Spin> rotations = {Spin::R1, Spin::R2};
  // A name of transform_types(), exactly, or an automatic one, in whose place the modifier puts what was chosen.
  std::string transform_type = "hadamard";
  bool randomize = false;
  // R1 and what else `learning` names is learned from data (learning::learn_recipe) before the modifier acts,
  // unless rotation_file has it already. In a transform_config: requires_grad of R1, R2.
  bool learnable = false;
  LearningArguments learning = {};
  Precision precision = Precision::float64;                    // arithmetic of centring, folding and fusing
  std::optional<int64_t> transform_block_size = {};            // R1 and R4
  std::optional<SpinQuantMapping> mappings = {};               // null: from the architecture
  std::optional<std::vector<NormMapping>> norm_mappings = {};  // null: from the architecture; none: no norm is folded
  // Replaces rotations, transform_type, randomize, precision, transform_block_size and mappings; never the norms.
  std::optional<TransformConfig> transform_config = {};
  std::optional<uint64_t> seed = {};  // of every group; null: the peer's
  int64_t seeds = 1;                  // with calibration data: so many from `seed` on are tried, the best is taken
  // A file as read_rotations() takes: its matrices replace those of the groups with their names; and its digest, which
  // the modifier fills in, so that a second run takes the same matrices.
  std::optional<std::string> rotation_file = {}, rotation_digest = {};
  bool vision = false;             // R1 for the residual stream of the vision tower, too
  bool center_embeddings = false;  // as llm-compressor does, always: changes the function of an RMSNorm model
  std::optional<Compat> compat = {};
  std::optional<Mtp> mtp = {};  // null: an error where multi-token prediction cannot be exact

  template <class Visitor>
  void fields(Visitor& v) {
    v("rotations", SpinList{rotations});
    v("transform_type", transform_type);
    v("randomize", randomize);
    v("learnable", learnable);
    v("learning", learning);
    v("precision", PrecisionName{precision});
    v("transform_block_size", transform_block_size);
    v("mappings", mappings);
    v("norm_mappings", norm_mappings);
    v("transform_config", transform_config);
    v("seed", seed);
    v("seeds", seeds);
    v("rotation_file", rotation_file);
    v("rotation_digest", rotation_digest);
    v("vision", vision);
    v("center_embeddings", center_embeddings);
    v("compat", compat);
    v("mtp", mtp);
  }
};

// Refuses what is refused whatever the model: an unknown transform type, a digest of no file, seeds of a type that is
// not drawn, groups of a transform_config that cannot be learned. Errors at `place` or the key of it.
void check_arguments(const SpinQuantArguments& arguments, const Place& place);

}  // namespace spinor
