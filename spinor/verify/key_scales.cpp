#include "spinor/verify/key_scales.h"

#include <algorithm>

#include "spinor/transform/scales.h"
#include "spinor/verify/part_outputs.h"

namespace spinor::verify {
namespace {

double key_error(const Context& context, const LegalScale& scale) {
  const LinearPart& reader = scale.readers.front();
  const BothOutputs keys = outputs_of(context, scale.writer), queries = outputs_of(context, reader);
  double worst = std::max(multiple_error(keys, context.u()), multiple_error(queries, context.u()));
  for (int64_t row = 0; row < reader.size; ++row) {
    const int64_t entry = scale.entry_read(reader, row);
    for (const int64_t met : {entry, scale.partner(entry)})
      for (size_t p = 0; p < kVectors; ++p)
        for (size_t q = 0; q < kVectors; ++q) {
          const auto i = static_cast<size_t>(row), j = static_cast<size_t>(met);
          worst = std::max(worst, product_error(queries.source[p][i], keys.source[q][j], queries.output[p][i],
                                                keys.output[q][j], context.u()));
        }
  }
  return worst / kBoundFactor;
}

void add_tensors(const LinearPart& rows, std::vector<std::string>& tensors) {
  tensors.push_back(weight_name(*rows.linear));
  if (rows.linear->bias) tensors.push_back(rows.linear->bias->info.name);
}

}  // namespace

void check_key_scales(Context& context) {
  if (context.report.passed()) return;
  for (const LegalScale& scale : legal_scales(context.source.model())) {
    if (scale.kind != ScaleKind::k) continue;
    std::vector<std::string> tensors;
    add_tensors(scale.writer, tensors);
    add_tensors(scale.readers.front(), tensors);
    if (context.failed(tensors))
      context.excuse("scale k", std::move(tensors), scale.writer.linear->role, key_error(context, scale));
  }
}

}  // namespace spinor::verify
