// How rotations are learned: the field `learning` of a modifier whose rotations are learnable. Good without touching.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/base/fields.h"

namespace spinor {

struct LearningArguments {
  std::string objective = "psot";                     // a name of learning::objectives()
  std::vector<std::string> rotations = {"R1"};        // of those of the modifier: R1, R2 (one a layer); of QuIP's: v
  std::vector<std::string> scales = {"m", "k", "v"};  // found from the same data where they are exact; none: []
  bool permutation = true;                            // of an MLP's channels, found where R4 has blocks
  std::optional<std::string> starts_from = {};        // where an objective of the network starts: an objective of rows,
                                                      // or `drawn`; null: the objective's
  std::optional<int64_t> steps = {};                  // of Cayley with Adam; null, as below: the objective's
  std::optional<int64_t> batch = {};                  // rows a step; tokens, in whole windows, if it is of the network
  std::optional<double> learning_rate = {};           // at first; it falls to 0 as a cosine does
  int64_t samples = 8, holdout = 8;                   // windows of the calibration text to learn on, and to judge on
  int64_t context = 512;                              // tokens of each
  std::optional<double> first_token = {};             // the weight of a window's first token; null: the objective's
  uint64_t seed = 0;                                  // which windows, which rows in which step
  // Activations and KV cache of the models that are judged have so many bits, 16: they are not quantized; null: as the
  // recipe says, 4 where it says nothing.
  std::optional<int64_t> activation_bits = {}, kv_bits = {};

  template <class Visitor>
  void fields(Visitor& v) {
    v("objective", objective);
    v("rotations", one_or_many(rotations));
    v("scales", one_or_many(scales));
    v("permutation", permutation);
    v("starts_from", starts_from);
    v("steps", steps);
    v("batch", batch);
    v("learning_rate", learning_rate);
    v("samples", samples);
    v("holdout", holdout);
    v("context", context);
    v("first_token", first_token);
    v("seed", seed);
    v("activation_bits", activation_bits);
    v("kv_bits", kv_bits);
  }
};

// What a modifier can learn.
struct LearnableNames {
  std::span<const std::string_view> rotations, scales;
  bool permutation = false;
};
// Error at the key for what makes no sense whatever the model: no windows, a rate that is not positive, a rotation that
// cannot be learned.
void check_learning(const LearningArguments& arguments, const LearnableNames& names, const Place& place);

}  // namespace spinor
