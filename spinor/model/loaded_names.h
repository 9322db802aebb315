// The names that transformers has for modules whose names in the files are others.
#pragma once

#include <string>
#include <vector>

#include "spinor/family/architecture.h"
#include "spinor/io/checkpoint.h"
#include "spinor/model/model.h"

namespace spinor {

class LoadedNames {
 public:
  // Of this row and its towers, in this checkpoint.
  LoadedNames(const Architecture& row, const Checkpoint& checkpoint);

  // Empty: the same. By Architecture::loaded_as, where {N} is any number, the same in both; or with the beginning that
  // a checkpoint of the base model alone leaves out, "model." where the root is "", as another of Architecture::roots
  // says. That is not the head's.
  std::string of(const std::string& module) const;

 private:
  const Architecture& row_;
  std::string head_;
  NamePairs roots_;  // and what they leave out
};

// Sets loaded_name of modules. Layers for multi-token prediction are nothing of transformers; and of a linear
// `router.layer` that is `router` there, no container `router` is left.
void name_as_loaded(std::vector<Module>& modules, const LoadedNames& names);

// Whether it is no module in memory: transformers makes several of it, or one of several. Its row says so by a
// beginning that is loaded as nothing.
bool is_remade(const Architecture& row, const std::string& module);

}  // namespace spinor
