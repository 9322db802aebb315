#include "spinor/learning/weight_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "spinor/linalg/random.h"

namespace spinor::learning {
namespace {

std::vector<const Module*> stream_readers(const Model& model) {
  std::vector<const Module*> readers;
  for (const NormReads& reads : model.stream().norm_reads)
    for (const Module* linear : reads.linears)
      if (!reads.columns && linear->layer >= 0 && linear->layer < model.num_layers() && linear->shape.count == 1)
        readers.push_back(linear);
  return readers;
}

}  // namespace

RowSet weight_rows(const runtime::ModuleFactory& factory, int64_t rows, uint64_t seed) {
  const std::vector<const Module*> readers = stream_readers(factory.model());
  const int64_t each = std::max<int64_t>(1, rows / std::max<int64_t>(1, std::ssize(readers)));
  Random random(seed);
  std::vector<at::Tensor> parts;
  for (const Module* reader : readers) {
    const at::Tensor weight = factory.linear(reader->name).weight;
    std::vector<int64_t> chosen = random.permutation(weight.size(0));
    chosen.resize(static_cast<size_t>(std::min(each, weight.size(0))));
    std::ranges::sort(chosen);
    parts.push_back(
        weight.index_select(0, at::tensor(chosen, at::kLong).to(weight.device())).to(at::kCPU, at::kBFloat16));
  }
  if (parts.empty()) return {};
  const at::Tensor all = at::cat(parts);
  return {all, at::ones({all.size(0)}, at::kFloat)};
}

}  // namespace spinor::learning
