// A linear, or some of its rows: those of one head, of the keys in a fused projection, of the gate beside it.
#pragma once

#include <cstdint>
#include <optional>

#include "spinor/base/slice.h"
#include "spinor/model/model.h"

namespace spinor {

// `part` are rows of what writes, and null where it reads: then they are all its columns.
struct LinearPart {
  const Module* linear = nullptr;
  std::optional<Slice> part = {};  // of rows; null: all
  int64_t size = 0;                // how many, of a stack those of all its matrices
};

LinearPart rows_in(const Module& linear, const std::optional<Slice>& part = {});
LinearPart columns_in(const Module& linear);
// The rows as a module of their own.
Module as_module(const LinearPart& rows);

}  // namespace spinor
