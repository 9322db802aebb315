// llm-compressor's observers by their names and arguments, as recipes have them.
#pragma once

#include "spinor/base/fields.h"
#include "spinor/quant/observer_options.h"
#include "spinor/quant/scheme.h"

namespace spinor {

// How the ranges that batches of activations have become one.
enum class Averaging {
  moving,  // a new batch has a small weight
  all,     // what all of them lie in
  last,
};
struct ActivationObserver {
  ObserverOptions search = {};  // of each batch
  Averaging averaging = Averaging::moving;
  double averaging_constant = 0.01;  // the weight of a new batch
};

// What args.observer and args.observer_kwargs ask for; absent: memoryless_minmax for weights, which are seen once, so
// that names with and without memoryless_ mean the same there; minmax for activations. Errors at `place`: what is
// unknown, or makes no sense.
ObserverOptions weight_observer(const QuantizationArgs& args, const Place& place);
ActivationObserver activation_observer(const QuantizationArgs& args, const Place& place);

// Whether the observer of a weight asks how much its columns weigh: the imatrix ones do, where a scale is of one row.
// To others, and to activations, all columns are the same, as in llm-compressor; with strict: true that is an error.
bool asks_for_importance(const QuantizationArgs& args, const ObserverOptions& observer);

}  // namespace spinor
