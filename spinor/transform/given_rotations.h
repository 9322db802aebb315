// Matrices of the user's own in the place of those that a seed draws: learned ones, for instance.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "spinor/linalg/rotation.h"
#include "spinor/transform/config.h"
#include "spinor/transform/given_inputs.h"
#include "spinor/transform/given_permutations.h"
#include "spinor/transform/given_scales.h"

namespace spinor {

class Model;

// The type of their groups in a TransformConfig as it is written, without the matrices themselves.
inline constexpr const char* kGivenType = "given";

struct GivenRotations {
  std::map<std::string, GivenMatrices> groups = {};  // by the name of the group: "R1", "R2"
  GivenInputs inputs = {};
  GivenScales scales = {};
  GivenPermutations permutations = {};
  std::string digest = {};  // of the file they came from

  bool empty() const { return groups.empty() && inputs.empty() && scales.empty() && permutations.empty(); }
};

// A safetensors file of square matrices for this model, exact scales and permutations; rows x of activations become
// x R, as everywhere. Its tensors:
//
// R1 (n, n), n = hidden_size or a divisor of it, for the residual stream;
//
// R2 (d, d), d = head_dim or a divisor of it, for the values of all layers;
//
// R2.<layer> or model.layers.<layer>.self_attn.R2 for those of one layer; then every layer needs one.
//
// v.<linear> (n, n), n = the linear's inputs or a divisor of them, for QuIP's v of this linear and of those that read
// the same: v.model.layers.0.self_attn.q_proj;
//
// scale.<name>, the factors of the LegalScale of this name (scales.h), float64 or float32, taken as it is:
// scale.model.layers.0.mlp.up_proj;
//
// permutation.<linear>, the order of the hidden channels that this linear reads (hidden_channels.h), int64:
// permutation.model.layers.0.mlp.down_proj.
//
// A matrix must be orthogonal up to the rounding of its dtype (float64, float32 or bfloat16), and is replaced by the
// orthogonal matrix nearest to it, so that rotating stays exact. Where LayerNorms read the residual stream, R1 must
// fix the vector of ones, so far. Errors name file and tensor: another name, shape, dtype or layer, an entry that is
// not finite, two matrices for one place, a scale that the model does not have, factors that are not positive, or
// differ where they must not, channels that keep their order, a file whose digest is not `digest` (empty: any will do).
GivenRotations read_rotations(const std::filesystem::path& file, const Model& model, const std::string& digest = {});

// Puts the matrices into the groups of their names, whose type becomes kGivenType; those of inputs as
// use_given_inputs() does. Error for one whose group the config does not have, or whose size is not the block size
// asked for; R2's may divide it.
void use_given(const GivenRotations& given, const Model& model, TransformConfig& config);

}  // namespace spinor
