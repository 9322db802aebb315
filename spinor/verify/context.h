// What the steps of verify_weights() share, which makes one; its steps are writers.h and readers.h for every
// stream, then values.h, unchanged.h, channels.h and key_scales.h, in this order.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "spinor/linalg/random.h"
#include "spinor/verify/mtp.h"
#include "spinor/verify/report.h"
#include "spinor/verify/share.h"
#include "spinor/verify/side.h"
#include "spinor/verify/stream_frame.h"

namespace spinor::verify {

inline constexpr int64_t kVectors = 2;     // random vectors per product
inline constexpr double kBoundFactor = 8;  // a bound is 8 roundoffs of random-sum size: rounding itself stays below 1

struct Context {
  const Side source, output;
  const MtpView mtp;
  const ModuleShare share;
  Random random;
  Report report = {};
  std::set<const Module*> values = {};   // of the source, and their outputs: they are checked as pairs
  std::vector<StreamVector> frame = {};  // what the writers that agree put into the stream that is checked
  Matrix<double> x = {}, x_output = {};  // random vectors of it, (kVectors, size), in either frame

  double u() const { return report.unit_roundoff; }
  // A module of the source, in the output.
  const Module& twin(const Module& module) const { return *output.model().find(module.name); }
  void add(std::string what, std::vector<std::string> tensors, Role role, double error, double bound, std::string hint);

  // Whether a check that blames one of the tensors failed.
  bool failed(const std::vector<std::string>& tensors) const;
  // If the error is at most 1, in units of the bound, takes those checks back, and adds this one instead: what changed
  // the tensors leaves the function alone. Returns whether it is. Else what was found first says more.
  bool excuse(std::string what, std::vector<std::string> tensors, Role role, double error);
};

// Which rows of a linear are values, and so are checked with the output projection.
std::optional<Slice> value_rows(const Context& context, const Module& linear);

}  // namespace spinor::verify
