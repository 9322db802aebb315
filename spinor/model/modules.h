// The modules of a checkpoint, from a row of the architecture table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "spinor/family/model_config.h"
#include "spinor/model/model.h"

namespace spinor {

// Without its towers. In the order of torch's named_modules(), and for the blocks that the row names with its classes.
// Error naming the tensor for one that is missing or has another shape than config.json says.
std::vector<Module> modules_of(const Architecture& row, const ModelConfig& config, const Checkpoint& checkpoint);

// 0 if the row has none.
int64_t number_of_experts(const Architecture& row, const ModelConfig& config);
std::string root_of(const Architecture& row, const Checkpoint& checkpoint);  // see Architecture::roots
std::string head_of(const Architecture& row, const Checkpoint& checkpoint);  // its name in the files

}  // namespace spinor
