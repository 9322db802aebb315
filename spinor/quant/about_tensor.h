// Whose weight it is that this folder has an Error about.
#pragma once

#include <string>

#include "spinor/base/error.h"

namespace spinor {

// work(), its Errors about this tensor. Here they are about it, or "weight", which says nothing more, or one of the
// tensors that it is made of ("weight_scale"), which becomes part of the problem.
template <typename Work>
auto about_tensor(const std::string& tensor, Work work) {
  try {
    return work();
  } catch (const Error& error) {
    const std::string part = error.subject() == "weight" || error.subject() == tensor ? "" : error.subject() + " ";
    throw Error(tensor, part + error.problem(), error.hint());
  }
}

}  // namespace spinor
