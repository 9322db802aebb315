// Which modules this rank looks at, of several that check one output.
#pragma once

#include <set>

#include "spinor/base/rank.h"
#include "spinor/model/model.h"

namespace spinor::verify {

// Whole layers, by bytes, and modules outside of them. All ranks look at the first writer of each stream: who fits it
// fits the other ranks' writers and readers, too.
class ModuleShare {
 public:
  ModuleShare(const Model& model, const Rank& rank);

  bool has(const Module& module) const { return !elsewhere_.contains(&module); }
  void cut(Stream& stream) const;

 private:
  std::set<const Module*> elsewhere_;
};

}  // namespace spinor::verify
