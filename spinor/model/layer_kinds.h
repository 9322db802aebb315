// Which modules a layer has whose row says `when: present`.
#pragma once

#include <set>
#include <string>

#include "spinor/family/architecture.h"
#include "spinor/model/module_list.h"

namespace spinor {

// The names in the row of those that are there below "model.layers.3."; of those that are counted, where one of
// the linears is, or the first of others.
// Error naming the layer unless they are one of the row's layer_kinds, with what is missing from the one that is
// nearest.
std::set<std::string> present_in_layer(const Architecture& row, const std::string& prefix, const ModuleList& list);

}  // namespace spinor
