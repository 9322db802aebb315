// What the modules of a row are for.
#pragma once

#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor {

Role role_of(const Architecture& row, const LinearRow& linear);  // of one in a layer
Role role_of(const Architecture& row, const NormRow& norm);
// The class transformers makes for hidden_act, and its parents.
std::vector<std::string> activation_classes(const std::string& activation);

}  // namespace spinor
