// What was learned, as a file that read_rotations() takes, with how it came to be in its metadata.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "spinor/learning/learner.h"

namespace spinor::learning {

// What tells jobs apart. A job has paths of this machine in it, and files go where the model goes.
std::string job_digest(const Json& job);

// Rotations and scales in float64; `job` is all that they depend on, of which the file has a digest.
// It is there as a whole, or not at all.
// Nothing that is kept gives a file without tensors.
void write_learned(const std::filesystem::path& file, const LearnedRotations& learned, const Json& job);

// What such a file says; its matrices stay in it.
struct LearnedFile {
  std::optional<uint64_t> seed;
  Json record;
  std::vector<std::string> warnings;
  bool empty = true;  // nothing was kept
  std::string digest;
};
// Nothing if there is no file, or it is of another job.
std::optional<LearnedFile> find_learned(const std::filesystem::path& file, const Json& job);

}  // namespace spinor::learning
