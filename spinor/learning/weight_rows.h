// The rows that a rotation is learned from without data: those of the weights that read the residual stream.
#pragma once

#include "spinor/learning/capture.h"
#include "spinor/runtime/module_factory.h"

namespace spinor::learning {

// Rows of every linear of the layers that reads the stream, drawn alike, at most about so many in all; none for a
// model whose linears are not told apart (stacked experts are left out). Each weighs 1. Norms must have been folded.
// Reads one weight at a time.
RowSet weight_rows(const runtime::ModuleFactory& factory, RowStore& store, int64_t rows, uint64_t seed);
// How many they are.
int64_t count_weight_rows(const Model& model, int64_t rows);

}  // namespace spinor::learning
