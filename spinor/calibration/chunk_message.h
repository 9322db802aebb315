// A chunk on its way to the rank that owns the sums.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "spinor/calibration/chunk.h"
#include "spinor/ranks/rank_group.h"

namespace spinor::calibration {

// What a chunk adds to one Hessian: its inputs or, where those are more numbers, the sums of their products.
struct Contribution {
  std::string linear;               // the first that reads it
  std::vector<std::string> others;  // that do
  HessianPart part = HessianPart::whole;
  int64_t size = 0, inputs = 0, tokens = 0;
  std::vector<at::Tensor> x = {};
  at::Tensor products = {};  // of all hessian_pieces(), one after the other
};

// Of a chunk to the Hessians of these linears, as they came.
std::vector<Contribution> contributions(const Chunk& chunk, const std::vector<std::string>& linears);
// Whether the sums of products are to be sent.
bool is_larger_than_products(const Contribution& contribution);

using ChunkRanges = std::vector<std::vector<std::vector<Range>>>;  // by place, then by sample

// Both ranks know the linears, which are sorted.
void send(RankGroup& group, int to, const std::vector<Contribution>& contributions,
          const std::vector<std::string>& linears, const ChunkRanges& ranges);
struct ArrivedChunk {
  std::vector<Contribution> contributions = {};
  ChunkRanges ranges = {};
};
ArrivedChunk receive(RankGroup& group, int from, const std::vector<std::string>& linears);

}  // namespace spinor::calibration
