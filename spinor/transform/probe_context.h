// What the steps of a probe share. Only probe() makes one; its steps are probe_writers.h and probe_readers.h for every
// stream, then probe_values.h, probe_unchanged.h and probe_scales.h, in this order.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "spinor/linalg/random.h"
#include "spinor/transform/probe_mtp.h"
#include "spinor/transform/probe_report.h"
#include "spinor/transform/probe_side.h"
#include "spinor/transform/stream_frame.h"

namespace spinor {

inline constexpr int64_t kProbes = 2;      // random vectors per product
inline constexpr double kBoundFactor = 8;  // a bound is 8 roundoffs of random-sum size: rounding itself stays below 1

struct ProbeContext {
  const ProbeSide source, output;
  const MtpProbe mtp;
  Random random;
  ProbeReport report = {};
  std::set<const Module*> values = {};   // of the source, and their outputs: they are probed as pairs
  std::vector<StreamVector> frame = {};  // what the writers that agree put into the stream that is probed
  Matrix<double> x = {}, x_output = {};  // random vectors of it, (kProbes, size), in either frame

  double u() const { return report.unit_roundoff; }
  // A module of the source, in the output.
  const Module& twin(const Module& module) const { return *output.model().find(module.name); }
  void add(std::string what, std::vector<std::string> tensors, Role role, double error, double bound, std::string hint);
};

// Which rows of a linear are values, and so are checked with the output projection.
std::optional<Slice> value_rows(const ProbeContext& probe, const Module& linear);

}  // namespace spinor
