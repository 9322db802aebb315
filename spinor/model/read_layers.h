// Linears as vLLM and SGLang ask for their schemes: some of them several at once.
#pragma once

#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

struct ReadLayer {
  enum Kind { single, fused, experts, head };  // fused: of one kernel; experts: the same linear of all in a layer

  Kind kind = single;
  std::vector<std::string> names = {};    // by which schemes are found: in the files, and in memory if that is another
  std::vector<const Module*> parts = {};  // more than one if fused, or of experts
};

// In the files, and in memory where it is another.
std::vector<std::string> stored_and_loaded(const Module& module);

// All linears but routers and those of multi-token prediction, in the order of named_modules(). Of experts the name is
// that of the first: both look at no other.
std::vector<ReadLayer> read_layers(const Model& model);

}  // namespace spinor
