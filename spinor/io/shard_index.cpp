#include "spinor/io/shard_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "spinor/base/error.h"
#include "spinor/base/json.h"

namespace spinor {
namespace {

void check_shard_name(const std::string& shard, const std::string& tensor, const std::string& subject) {
  const std::filesystem::path path(shard);
  const auto refuse = [&](std::string_view problem) {
    throw Error(subject, fmt::format("{}: shard '{}' {}", tensor, shard, problem));
  };
  if (path.is_absolute() || std::ranges::find(path, "..") != path.end()) refuse("lies outside the directory");
  // A detour such as "./x" would make one file two shards; a NUL would end the name early.
  if (path.lexically_normal().native() != shard || !path.has_filename() || shard.find('\0') != std::string::npos)
    refuse("is not a plain file name");
  if (path.extension() != ".safetensors") refuse("is not a safetensors file");
}

}  // namespace

std::map<std::string, std::string> parse_shard_index(std::string_view text, std::string_view subject_view) {
  const std::string subject(subject_view);
  const Json json = parse_json(text, subject);
  if (!json.is_object() || !json.contains("weight_map")) throw Error(subject, "has no weight_map");
  const Json& weight_map = json["weight_map"];
  if (!weight_map.is_object() || weight_map.empty())
    throw Error(subject, "weight_map is not an object with tensor names");
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : weight_map.items()) {
    if (!shard.is_string()) throw Error(subject, fmt::format("{}: shard {} is not a string", tensor, shard.dump()));
    check_shard_name(shard.get_ref<const std::string&>(), tensor, subject);
    shards[tensor] = shard.get<std::string>();
  }
  return shards;
}

}  // namespace spinor
