// The hidden channels of MLPs: rows of the linears that make them, columns of the one that reads them. Nothing else
// tells one from another, so that they may stand in any order.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "spinor/model/forward_config.h"
#include "spinor/model/forward_modules.h"
#include "spinor/transform/linear_part.h"

namespace spinor {

struct HiddenChannels {
  std::string name;  // of the reader: "model.layers.0.mlp.down_proj"
  Gate kind = Gate::none;
  std::optional<LinearPart> gate = {};  // rows that the activation reads; what it makes times `up` is a channel
  LinearPart up = {};                   // rows; of an MLP without a gate those that the activation reads
  LinearPart reader = {};               // columns
  int64_t stack = 1;                    // matrices in each linear
  bool experts = false;                 // a stack that one module runs
  const Module* norm = nullptr;         // among its linears; null: none

  std::vector<LinearPart> writers() const;  // the gate first
  std::string scale_name() const;           // of their scale m, if they have one: LegalScale::name
};

// Of the language model, layer by layer. Errors: those of read_forward_config(); an MLP whose sides do not fit; there
// is none.
std::vector<HiddenChannels> hidden_channels(const Model& model);
// Why they keep their order; empty: they may change it. A reordered one is the same function, whatever the activation.
std::string why_ordered(const HiddenChannels& channels);

}  // namespace spinor
