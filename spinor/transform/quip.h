// QuIP's incoherence processing (arXiv 2307.13304, 2402.04396): every linear between two transforms that undo each
// other.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/plan/plan.h"
#include "spinor/transform/config.h"

namespace spinor {

// v acts on the input side of a weight, u on its output side; each is undone while the model runs.
enum class Quip { v, u };
std::span<const EnumName<Quip>> enum_names(Quip);

struct QuipOptions {
  std::vector<Quip> rotations = {Quip::v};         // order and repetition do not matter
  std::string transform_type = "random-hadamard";  // or an automatic one, which choose_types() puts the type for
  std::vector<std::string> targets = {"Linear"}, ignore = {"lm_head"};
  bool randomize = false;
  Precision precision = Precision::float64;
  std::optional<int64_t> transform_block_size = {};  // null: each side's whole length
  std::optional<uint64_t> seed = {};                 // null: the peer's
};

// Groups v and u, those asked for: input and inverse weight_input; weight_output and inverse output.
TransformConfig quip(const QuipOptions& options);

}  // namespace spinor
