// The file of rotations that a modifier has among its arguments, the user's own or learned: what its modifiers share.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/transform/given_rotations.h"

namespace spinor {

// Error at its key for the digest of no file.
void check_digest_of(const std::optional<std::string>& file, const std::optional<std::string>& digest,
                     const Place& place);
// A relative path begins in this directory.
void begin_in(const std::filesystem::path& directory, std::optional<std::string>& file);
// What is recorded from now on works from every directory, with the digest. Nothing without a file. Errors as of
// read_rotations().
GivenRotations read_recorded(std::optional<std::string>& file, std::optional<std::string>& digest, const Model& model);

// The groups of a config that are to be learned.
std::vector<std::string> with_requires_grad(const std::optional<TransformConfig>& config);
void clear_requires_grad(std::optional<TransformConfig>& config);

}  // namespace spinor
