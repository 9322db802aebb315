#include "spinor/modifier/rotation_file.h"

namespace spinor {

void check_digest_of(const std::optional<std::string>& file, const std::optional<std::string>& digest,
                     const Place& place) {
  if (digest && !file) place.key("rotation_digest").fail("is the digest of no file", "give rotation_file, too");
}

void begin_in(const std::filesystem::path& directory, std::optional<std::string>& file) {
  if (file) file = (directory / *file).lexically_normal();
}

GivenRotations read_recorded(std::optional<std::string>& file, std::optional<std::string>& digest, const Model& model) {
  if (!file) return {};
  const std::filesystem::path path = std::filesystem::absolute(*file).lexically_normal();
  GivenRotations given = read_rotations(path, model, digest.value_or(""));
  file = path.string();
  digest = given.digest;
  return given;
}

std::vector<std::string> with_requires_grad(const std::optional<TransformConfig>& config) {
  std::vector<std::string> names;
  if (!config) return names;
  for (const auto& [name, scheme] : config->config_groups)
    if (scheme.requires_grad) names.push_back(name);
  return names;
}

void clear_requires_grad(std::optional<TransformConfig>& config) {
  if (!config) return;
  for (auto& [group, scheme] : config->config_groups) scheme.requires_grad = false;
}

}  // namespace spinor
