// Which modules of a layer, or which of their rows, are what in its forward pass.
#pragma once

#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

// Names of linears of one MLP below the layer: gate and up, or one linear; and its output.
struct MlpNames {
  std::vector<std::string> in;
  std::string out;
  bool alternating = false;  // LinearRow::alternating of the input
};

// The row has all in two lists; what belongs together has the same parent. Error for an MLP of no or three inputs.
std::vector<MlpNames> mlps_of(const Architecture& row);

enum class Gate {
  none,
  own,          // a linear of its own, the first of two
  first_half,   // the first half of the rows
  alternating,  // every second row, from the first on
};
// `in` and `out`: the last input of the MLP and its output.
Gate gate_of(const MlpNames& names, const WeightShape& in, const WeightShape& out);

// Rows of a fused projection.
struct ProjectionRows {
  Slice query, key, value;
};
// In each run of a fused projection's rows queries come first, then keys and values in either order, as many of each.
ProjectionRows projection_rows(const Slice& value);

}  // namespace spinor
