#include "spinor/model/end_tokens.h"

#include <utility>

#include "spinor/family/config_keys.h"
#include "spinor/io/file.h"

namespace spinor {
namespace {

constexpr int64_t kMaxConfigBytes = 16 << 20;

std::vector<int32_t> read_end_tokens(const ConfigKeys& config) {
  const Json* value = config.find("eos_token_id");
  if (!value) return {};
  std::vector<int32_t> ids;
  for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
    if (!id.is_number_integer() || !std::in_range<int32_t>(id.get<int64_t>())) config.fail("eos_token_id", "a token");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// transformers' names of the config within a config, in the order in which it looks.
const Json* decoder_of(const Json& config) {
  for (const char* key : {"decoder", "generator", "text_config"})
    if (const auto found = config.find(key); found != config.end() && found->is_object() && !found->empty())
      return &*found;
  return nullptr;
}

}  // namespace

std::vector<int32_t> end_tokens(const Model& model) {
  const std::filesystem::path directory = model.checkpoint().directory(), path = directory / "generation_config.json";
  if (std::filesystem::exists(path)) {
    const Json generation = parse_json(read_text(path, kMaxConfigBytes), path.string());
    fields_detail::expect_object(generation, {"generation_config.json", path.string()});
    return read_end_tokens({generation, path.string()});
  }
  const std::string subject = (directory / "config.json").string();
  const Json& config = model.checkpoint().config();
  const ConfigKeys keys{config, subject};
  const Json* decoder = keys.find("eos_token_id") ? nullptr : decoder_of(config);
  return read_end_tokens(decoder ? ConfigKeys{*decoder, subject} : keys);
}

}  // namespace spinor
