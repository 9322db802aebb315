// What verify_weights() has measured.
#pragma once

#include <string>
#include <vector>

#include "spinor/io/checkpoint.h"

namespace spinor::verify {

// One thing measured. error and bound are in the same unit (relative to the size of what was compared).
struct Check {
  // "reader", "writer", "value-output", "bias", "norm", "unchanged", "scale m", "scale k", "permutation"; "config",
  // "online"
  std::string what;
  std::vector<std::string> tensors;  // of OUT; the one at fault, or the pair that disagrees. "config": keys of
                                     // config.json, "online": modules
  std::string role;                  // "attn_q", ...
  double error = 0, bound = 0;
  std::string hint;  // what the failure looks like; empty when it passed

  bool passed() const { return error <= bound; }
};

struct Report {
  std::vector<Check> checks;
  double unit_roundoff = 0;  // of OUT's dtype: 2^-9 for bfloat16; every bound is a multiple of it

  // The hint is dropped if the check passed.
  void add(Check check);
  bool passed() const;
  std::vector<const Check*> failures() const;
};

// The unit roundoff of the narrowest editable type that is stored, but never below what the arithmetic of a rotation
// itself loses.
double unit_roundoff(const Checkpoint& output);

}  // namespace spinor::verify
