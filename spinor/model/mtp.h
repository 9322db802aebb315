// Heads for multi-token prediction, as a row says they look.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "spinor/model/stream.h"

namespace spinor {

// What the names of a layer's modules begin with, and those of the head that it belongs to.
struct MtpPlace {
  std::string root, layer;
  int64_t number = 0;  // counted on from the model's layers
};

// Layers that are there with all that makes a head; `has` says whether a module is. None of a row without mtp.
std::vector<MtpPlace> mtp_places(const Architecture& row, const ModelConfig& config, const std::string& model_root,
                                 const std::function<bool(const std::string&)>& has);

std::vector<MtpHead> mtp_heads_of(const ModuleNames& names, const std::string& model_root);

}  // namespace spinor
