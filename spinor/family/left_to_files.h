// What a row (architecture.h) leaves to the files: sizes of which it says `any`, and modules that are there where their
// tensors are, `when: present`.
#pragma once

#include <string>

#include "spinor/family/architecture.h"

namespace spinor {

// Error with `subject` and the name, without looking at towers:
// - `any` for a size that a rotation depends on: what reads or writes the residual stream, values and the columns of
//   their output, norms of the stream; or where it is no size of a linear, a norm or a parameter.
// - `present` elsewhere than in a layer, for a norm without tensors, or for one of several rows with one name; a module
//   with it that no set of `layer_kinds` names: else a layer whose tensors are missing would pass for one of another
//   kind.
void check_left_to_files(const Architecture& row, const std::string& subject);

}  // namespace spinor
