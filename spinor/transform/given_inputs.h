// Rotations of the user's own for the inputs of single linears: QuIP's v, learned for instance.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "spinor/linalg/rotation.h"
#include "spinor/model/model.h"
#include "spinor/transform/config.h"

namespace spinor {

// The group whose matrices they replace.
inline constexpr const char* kInputGroup = "v";

// By the first of the linears that read the same (inputs_key), which share one.
using GivenInputs = std::map<std::string, Rotation>;

// The linears on whose input the scheme acts online, those that read the same together; each set and all of them in
// the order of the modules.
std::vector<std::vector<const Module*>> input_sets(const TransformScheme& scheme, const Model& model);

// Splits the group v: linears whose set has a matrix get a group of their own for each set, v_0, v_1, ..., as a group
// of compressed-tensors has one matrix a size; the others stay in v and are drawn. Error for a config without such a
// group, for one that acts on anything but inputs, for a name that begins no set, for a block size that is not the
// matrix's.
void use_given_inputs(const GivenInputs& given, const Model& model, TransformConfig& config);

}  // namespace spinor
