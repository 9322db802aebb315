// A torch wheel has c10d's header of gloo, and not gloo's own. What that header needs of them to be read is here; what
// is behind these names is in libtorch.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
