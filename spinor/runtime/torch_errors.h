// What libtorch throws, as spinor::Error: one line instead of a page. For the entry points of the runtime.
#pragma once

#include <c10/util/Exception.h>

#include <string>
#include <utility>

#include "spinor/base/error.h"

namespace spinor::runtime {

template <typename Work>
auto with_torch_errors(Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    throw Error("libtorch", what.substr(0, what.find('\n')));
  }
}

}  // namespace spinor::runtime
