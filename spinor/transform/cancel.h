// Does what was applied leave the function unchanged? A check of the finished plan, without reading a weight but those
// of norms.
#pragma once

#include "spinor/plan/plan.h"
#include "spinor/transform/spinquant.h"

namespace spinor {

struct CancelOptions {
  bool any_stream_matrix = false;  // a residual stream times a matrix that is not orthogonal, as llm-compressor allows
  bool approximate_mtp = false;    // multi-token prediction where it cannot be exact
};

// The mapping says who writes to the residual stream (embedding, attn_o, mlp_out), who reads it (attn_q, attn_k,
// attn_v, mlp_in, lm_head) and which values attn_o reads. Every edit and online transform of a module is multiplied
// onto probe vectors:
//   - what the embedding does to the stream, every writer does, every reader undoes, and norms are folded into the
//   readers;
//   - the stream's transform keeps lengths, because an RMS norm divides by them;
//   - attn_o undoes, head by head, what attn_v does to its values, and no head leaks into another;
//   - queries and keys keep their product (q_attn, k_cache);
//   - exact scales are where the model has them, and their readers undo them (scales.h);
//   - all else, on any linear, cancels on that linear itself (R4, QuIP);
//   - a bias moves with the rows of its weight.
// Error naming the first tensor for which this does not hold. A vector and a few fast products for each edit: under a
// second for Hadamard types; for dense types a matrix-vector product for each edit.
void check_cancels(const RewritePlan& plan, const SpinQuantMapping& mapping, CancelOptions options = {});
// The same for a known architecture, whose row says all that; and: every norm that was folded is folded into those that
// read through it (check_folds), what the row calls impossible did not happen, and where LayerNorms read the stream its
// transform keeps the mean; multi-token prediction is as fold_mtp() leaves it.
void check_cancels(const RewritePlan& plan, CancelOptions options = {});

// The same where no module's transforms meet another's: every linear and embedding undoes its own, queries and keys
// keep their product. Needs no mapping, so any architecture will do.
void check_pairs(const RewritePlan& plan);

}  // namespace spinor
