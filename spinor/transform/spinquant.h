// SpinQuant (arXiv 2405.16406): facts about a model -> TransformConfig. Pure functions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/transform/config.h"
#include "spinor/transform/fold.h"
#include "spinor/transform/given_rotations.h"

namespace spinor {

enum class Spin { R1, R2, R3, R4 };
std::span<const EnumName<Spin>> enum_names(Spin);
Spin spin_from(std::string_view name);  // "R1" or "r1"; Error for anything else

// Names or regexes of the modules each rotation touches; mlp_in and mlp_out may be given as one string.
struct SpinQuantMapping {
  std::string embedding, attn_q, attn_k, attn_v, attn_o;
  std::optional<int64_t> attn_head_dim = {};  // replaces config.json's head_dim for R2 and R3
  std::vector<std::string> mlp_in, mlp_out;
  std::string lm_head;
  std::string attn = "re:.*self_attn$";  // for R3

  template <class Visitor>
  void fields(Visitor& v) {
    v("embedding", embedding, required);
    v("attn", attn);
    v("attn_q", attn_q, required);
    v("attn_k", attn_k, required);
    v("attn_v", attn_v, required);
    v("attn_o", attn_o, required);
    v("attn_head_dim", attn_head_dim);
    v("mlp_in", one_or_many(mlp_in), required);
    v("mlp_out", one_or_many(mlp_out), required);
    v("lm_head", lm_head, required);
  }
};

struct SpinQuantOptions {
  std::vector<Spin> rotations = {Spin::R1, Spin::R2};  // order and repetition do not matter
  std::string transform_type = "hadamard";             // or an automatic one (automatic_type.h)
  bool randomize = false;
  Precision precision = Precision::float64;
  std::optional<int64_t> transform_block_size = {};  // R1 and R4
  std::optional<SpinQuantMapping> mappings = {};     // null: from the architecture
  std::optional<uint64_t> seed = {};                 // null: the peer's
  bool vision = false;                               // an R1 of its own for the stream of each vision tower
  bool llm_compressor_compat = false;                // allow what llm-compressor allows: random-matrix as R1
  GivenRotations given = {};                         // in the place of those of transform_type
};

// From the architecture's row, spelled as llm-compressor's own mappings. Error if the architecture has no row.
SpinQuantMapping infer_mapping(const Model& model);
std::vector<NormMapping> infer_norm_mappings(const Model& model);
// Groups R1, R2, R3, R4, those asked for, and R1_vision; none: an empty config. R2 and R3 have blocks of the head
// dimension. Error: an unknown type; a type that is not orthogonal as R1 or R3, unless compat; a block size below 1;
// vision for a model that has no tower; a given rotation that is not asked for, or has another block size.
TransformConfig spinquant(const Model& model, const SpinQuantOptions& options);

}  // namespace spinor
