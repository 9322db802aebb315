// Who reads and writes the streams of a model: its architecture's row and a mapping of the user's come to one thing.
#pragma once

#include <string>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/transform/spinquant.h"

namespace spinor {

// A linear in none of them stands alone. The transform of a stream's first writer is that of the stream, and what reads
// it without a norm or behind constant scales that stay is among its raw_readers.
struct Places {
  std::vector<Stream> streams;  // that of the language model first
  std::vector<ValueOutput> values;
  std::string no_r2;           // why the values cannot be rotated
  bool normed_values = false;  // an RMS norm of each head stands behind them
};

Places places_of(const Model& model);  // of a known architecture
// Error for a target that matches nothing, or something that cannot read or write the stream.
Places places_of(const Model& model, const SpinQuantMapping& mapping);

// Whether the values of heads are normed, so that only an orthogonal R2 passes through.
bool norms_values(const Model& model);
// One whose queries and keys a transform can reach.
bool is_attention(const Module& module);
// Targets that match these modules of the model and no others: "re:.*o_proj$" where that will do. If none of them is of
// multi-token prediction, modules of that may match, too, and mtp_targets() must be ignored.
std::vector<std::string> targets_of(const Model& model, const std::vector<const Module*>& modules);
std::vector<std::string> mtp_targets(const Model& model);  // all of multi-token prediction

}  // namespace spinor
