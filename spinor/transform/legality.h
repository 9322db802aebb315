// Which rotations leave a model's function alone, and why others cannot.
#pragma once

#include <string>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/transform/spinquant.h"

namespace spinor {

struct Legality {
  Spin rotation = Spin::R1;
  std::vector<int64_t> sizes;  // of its matrices, without blocks
  std::string reason;          // why it is impossible; empty: it is not
};

// Of a known architecture: R1 to R4 in this order. Reads the weights of norms between writers and the residual stream.
std::vector<Legality> legality(const Model& model);
// Error with the reason and what is possible instead, unless all of them are.
void require_legal(const Model& model, const std::vector<Spin>& rotations);

}  // namespace spinor
