// The file of rotations that a modifier has among its arguments, the user's own or learned: what its modifiers share.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "spinor/base/fields.h"
#include "spinor/modifier/learnable.h"
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

// Of the arguments of a modifier that learns, which have learnable, learning, transform_config, rotation_file and
// rotation_digest:

// Whether there is something to learn that is not learned yet.
template <class Arguments>
bool wants_learning(const Arguments& arguments) {
  return !arguments.rotation_file && (arguments.learnable || !with_requires_grad(arguments.transform_config).empty());
}

// Where the start was better it is drawn, as if nothing had been learnable.
template <class Arguments>
void take_found(const Learnable::Found& found, Arguments& arguments, std::string& recorded_as) {
  clear_requires_grad(arguments.transform_config);
  if (found.file.empty()) {
    arguments.learnable = false;
    return;
  }
  arguments.rotation_file = found.file;
  arguments.rotation_digest = found.digest;
  recorded_as = found.recorded_as;
}

// Leaves out what llm-compressor does not know and nobody asked for; the file as it is to be recorded.
template <class Arguments>
void record_file(const Arguments& arguments, const std::string& recorded_as, Json& json) {
  if (!arguments.rotation_file) json.erase("rotation_file");
  if (!arguments.rotation_digest) json.erase("rotation_digest");
  if (json["learning"] == write_fields(Arguments().learning)) json.erase("learning");
  if (!recorded_as.empty()) json["rotation_file"] = recorded_as;
}

}  // namespace spinor
