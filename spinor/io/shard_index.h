// model.safetensors.index.json, read: which shard holds which tensor.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace spinor {

// Tensor name to shard file name. Throws Error(subject, ...), naming tensor and shard, unless weight_map is there, is
// not empty, and every shard is a .safetensors file at or below the index's directory by its name alone ("../x",
// absolute names and detours are refused; a symbolic link may lead where it wants: the Hugging Face cache is made of
// them). metadata is not read: published total_size values are often wrong, and nothing depends on them.
std::map<std::string, std::string> parse_shard_index(std::string_view text, std::string_view subject);

}  // namespace spinor
