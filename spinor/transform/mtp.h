// How multi-token prediction follows a rotation of the residual stream.
//
// The heads' stream rotates with the model's: they read the embedding and a state of the model, and write what the
// model's own head reads. R1 folds the final norm's scale g into that head. So a head that reads the state behind this
// norm no longer sees g, and one whose output norm scales by h is read as if that were g. Both are exact where the
// scales are constant (they then stay where they are), and the second also where h is a multiple of g.
// Elsewhere an approximation keeps all directions: g goes into the reader of the state, and the heads' stream is
// stretched by h / g. What an RMS norm divides by is then off, one factor a token.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "spinor/plan/plan.h"

namespace spinor {

enum class MtpFit {
  none,          // no heads
  kept,          // exact: the final norm and the heads' output norms stay
  proportional,  // exact: an output norm becomes the one factor by which it differs
  approximate,
  impossible
};

struct MtpFolding {
  struct Read {
    const NormReads* reads = nullptr;
    std::vector<FoldNorm> more = {};  // into the linears, after the norm's scale
    double level = 1;                 // what the norm multiplies by from then on
  };
  MtpFit fit = MtpFit::none;
  std::string reason = {};                                   // why it is not exact
  std::vector<Read> reads = {};                              // norms that are folded
  std::map<const Module*, std::vector<FoldNorm>> rows = {};  // of writers: what stretches their output
};

// What a norm multiplies by, and the product of several such or their inverses.
std::vector<double> scale_of(const Model& model, const Module& norm);
std::vector<double> product_of(const Model& model, const std::vector<FoldNorm>& factors);

// Reads the norms' weights.
MtpFolding mtp_folding(const Model& model);
// Whether it is the final norm, and stays as it is.
bool keeps(const MtpFolding& folding, const Model& model, const Module& norm);
// To be called before anything rotates.
void fold_mtp(const MtpFolding& folding, RewritePlan& plan);

}  // namespace spinor
