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
      if (!reads.columns && model.is_in_layers(*linear) && linear->shape.count == 1) readers.push_back(linear);
  return readers;
}

// Of a reader, of which there are so many.
int64_t rows_of(const Module& reader, int64_t rows, int64_t readers) {
  return std::min(std::max<int64_t>(1, rows / readers), reader.shape.out);
}

}  // namespace

int64_t count_weight_rows(const Model& model, int64_t rows) {
  const std::vector<const Module*> readers = stream_readers(model);
  int64_t all = 0;
  for (const Module* reader : readers) all += rows_of(*reader, rows, std::ssize(readers));
  return all;
}

RowSet weight_rows(const runtime::ModuleFactory& factory, RowStore& store, int64_t rows, uint64_t seed) {
  const std::vector<const Module*> readers = stream_readers(factory.model());
  if (readers.empty()) return {};
  const int64_t all = count_weight_rows(factory.model(), rows), width = factory.model().hidden_size();
  RowBuffer buffer = store.buffer(all, width);
  Random random(seed);
  for (const Module* reader : readers) {
    const at::Tensor weight = factory.linear(reader->name).weight;
    std::vector<int64_t> chosen = random.permutation(weight.size(0));
    chosen.resize(static_cast<size_t>(rows_of(*reader, rows, std::ssize(readers))));
    std::ranges::sort(chosen);
    buffer.append(weight.index_select(0, at::tensor(chosen, at::kLong).to(weight.device())));
  }
  return {buffer.rows(width), at::ones({all}, at::kFloat)};
}

}  // namespace spinor::learning
