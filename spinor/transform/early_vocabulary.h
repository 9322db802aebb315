// The words of compressed-tensors' first draft of transforms (its pull request 277), which recipes in circulation use:
//
//   transform_groups:
//     v1:
//       transform_type: random-hadamard
//       groups:
//         - {targets: Linear, ignore: [lm_head], module_targets: [weight], call_args: {transpose: true, first: false}}
//       transform_creation_args: {size: 2048}
#pragma once

#include "spinor/transform/config.h"

namespace spinor {

// The same as TransformConfig. A matrix M of `size`, in blocks where the side is longer, acts on each weight as
// call_args say, M first (default true), M transposed (default false), and is undone online:
//   M W     weight_output, inverse, and output      M^T W    weight_output, and output, inverse
//   W M     weight_input, inverse, and input        W M^T    weight_input, and input, inverse
// (for a matrix that is not orthogonal read M^-T where M is not transposed).
// module_targets input_activations and output_activations are input and output, x <- x M, or x M^T if transposed; what
// undoes them is to be given, too. Error at the place of a key for one that is unknown, for `first` with activations,
// and for weight and activations in one entry.
TransformConfig read_transform_groups(const Json& json, const Place& place);

}  // namespace spinor
