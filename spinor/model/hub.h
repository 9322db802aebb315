// MODEL on the command line: a directory, or the name of a model in the local Hugging Face cache.
#pragma once

#include <filesystem>
#include <string_view>

namespace spinor {

// The directory of `model`: itself if it is one; else org/name (or name, or org/name@revision; main if none is given)
// in the cache that the Hugging Face libraries use: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
// XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub, the first that is set; ~ and $NAME in them are expanded.
// Nothing is downloaded. Throws an Error that says where it looked.
std::filesystem::path resolve_model(std::string_view model);

}  // namespace spinor
