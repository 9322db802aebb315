// Is OUT the same function as SOURCE? Checked in double on the bytes that were written, without a forward pass and
// without knowing the rotation: what a rotation of the residual stream must leave alone is measured with random
// vectors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

// One thing measured. error and bound are in the same unit (relative to the size of what was compared).
struct ProbeCheck {
  std::string what;                  // "reader", "writer", "value-output", "bias", "norm", "unchanged"
  std::vector<std::string> tensors;  // of OUT; the one at fault, or the pair that disagrees
  std::string role;                  // "attn_q", ...
  double error = 0, bound = 0;
  std::string hint;  // what the failure looks like; empty when it passed

  bool passed() const { return error <= bound; }
};

struct ProbeReport {
  std::vector<ProbeCheck> checks;
  double unit_roundoff = 0;  // of OUT's dtype: 2^-9 for bfloat16; every bound is a multiple of it

  bool passed() const;
  std::vector<const ProbeCheck*> failures() const;
};

// The unit roundoff of the narrowest editable type that is stored, but never below what the arithmetic of a rotation
// itself loses.
double unit_roundoff(const Checkpoint& output);

struct ProbeOptions {
  uint64_t seed = 1;
  int threads = 0;
};

// With x a random combination of what the writers put into a stream (x' in OUT's frame, the same combination of OUT's
// writers), for every stream of the model:
//
// writers: <u_a, u_b> = <u_a', u_b'> for the outputs u of every two writers, so also every norm: R1 is orthogonal and
// common;
//
// readers: W (diag(g) x + beta) + b is the same in OUT, g and beta of the reader's norm;
//
// value-output: W_o mix(W_v x + b_v), heads mixed with random weights, compared in the stream as the writers are;
//
// norms: neutral, or the readers behind them make up for it;
//
// the rest: biases of other readers, and norms inside the attention: unchanged.
//
// A rounding error of relative size u in each stored weight moves these by about u times their random-sum size; a bound
// is 8 times that. Cost: two passes over both checkpoints; memory: a few hundred vectors of hidden_size. Errors: models
// of different shape or architecture; an architecture without a row.
ProbeReport probe(const Model& source, const Model& output, const ProbeOptions& options = {});

}  // namespace spinor
