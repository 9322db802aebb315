// The modules of a model by what a rotation must do to them: from its architecture, or from a mapping of the user's.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/transform/spinquant.h"

namespace spinor {

// Around one residual stream. The transform of the first writer is that of the stream.
struct StreamPlaces {
  const Module* first = nullptr;
  int64_t size = 0;
  std::set<const Module*> readers, writers;
  std::set<const Module*> unscaled;  // readers before which no norm has weights
  bool centred = false;              // LayerNorms read the stream
  std::string no_r1;                 // why it cannot be rotated
};

// A linear in none of them stands alone.
struct Places {
  std::vector<StreamPlaces> streams;  // that of the language model first
  std::set<const Module*> values;
  std::map<const Module*, ValueOutput> value_of;  // by the output
  std::string no_r2;                              // why the values cannot be rotated
  bool normed_values = false;                     // an RMS norm of each head stands behind them
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
