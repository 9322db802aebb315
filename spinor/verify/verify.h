// Is OUT the same function as SOURCE? Checked in double on the bytes that were written, without a forward pass and
// without knowing the rotation: what a rotation of the residual stream must leave alone is measured with random
// vectors.
#pragma once

#include <cstdint>
#include <stop_token>

#include "spinor/base/rank.h"
#include "spinor/model/model.h"
#include "spinor/verify/report.h"

namespace spinor::verify {

struct Options {
  uint64_t seed = 1;
  int threads = 0;
  std::stop_token stop = {};  // a request ends the work before the next product with Stopped
  Rank rank = {};             // of several: the report is of this one's share, and all must pass
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
// exact scales (transform/scales.h), where an MLP's inner linears or queries and keys changed: each row became a
// multiple of what it was; W_o (h * (W_up x + b_up)), h random, compared in the stream; the product of a query's row
// with the key's two that it meets is the same;
//
// permutations (transform/hidden_channels.h), where an MLP's changed and no scale explains it: that, and each row of
// the gate became one that was there, in the same order as the rows above;
//
// norms: neutral, or the readers behind them make up for it;
//
// the rest: biases of other readers, and norms inside the attention: unchanged;
//
// what acts online, on either side: part of the module it acts on, in all of these; config.json: the keys that matter.
//
// A rounding error of relative size u in each stored weight moves these by about u times their random-sum size; a bound
// is 8 times that. Cost: two passes over both checkpoints; memory: a few hundred vectors of hidden_size. Errors: models
// of different shape or architecture; an architecture without a row; an online transform that cannot be read.
Report verify_weights(const Model& source, const Model& output, const Options& options = {});

}  // namespace spinor::verify
