#include "spinor/family/forward_row.h"

namespace spinor {
namespace {

constexpr EnumName<Routing> kRoutings[] = {
    {Routing::softmax, "softmax"}, {Routing::softmax_top, "softmax_top"}, {Routing::sigmoid, "sigmoid"}};

}  // namespace

std::span<const EnumName<Routing>> enum_names(Routing) {
  return kRoutings;
}

}  // namespace spinor
