// Rows of the architecture table that users write, in YAML. docs/adding_an_architecture.md shows how.
#pragma once

#include <string>

#include "spinor/base/yaml.h"
#include "spinor/family/architecture.h"

namespace spinor {

// A row by its fields (Architecture::fields); what is not there is as in Llama. Error with the line for an unknown key
// or a value of another type; see also check_architecture().
Architecture read_architecture(const Document& document);

// A row that contradicts itself is an Error with `subject` and the key: a name that no linear, norm or part of the row
// has; a linear that reads or writes vectors of hidden_size, but neither norm nor stream names it; a formula that is
// none; what left_to_files.h refuses. What a row says of a model cannot be checked, except that every tensor must have
// its place in it.
void check_architecture(const Architecture& row, const std::string& subject);

}  // namespace spinor
