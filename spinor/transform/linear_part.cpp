#include "spinor/transform/linear_part.h"

namespace spinor {

LinearPart rows_in(const Module& linear, const std::optional<Slice>& part) {
  const int64_t all = linear.shape.out * linear.shape.count;
  return {&linear, part, part ? all / part->period * part->size : all};
}

LinearPart columns_in(const Module& linear) {
  return {&linear, {}, linear.shape.in * linear.shape.count};
}

Module as_module(const LinearPart& rows) {
  Module module = *rows.linear;
  module.part = rows.part;
  module.shape.out = rows.size / module.shape.count;
  return module;
}

}  // namespace spinor
