#include "spinor/learning/learned_file.h"

#include <span>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/json.h"
#include "spinor/io/digest.h"
#include "spinor/io/whole_file.h"

namespace spinor::learning {
namespace {

// Names of files need not be text.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<TensorBytes> tensors_of(const LearnedRotations& learned) {
  std::vector<TensorBytes> all;
  for (const auto& [name, matrix] : learned.rotations)
    all.push_back({{.name = name, .dtype = DType::F64, .shape = {matrix.rows, matrix.cols}},
                   std::as_bytes(std::span(matrix.data))});
  for (const auto& [name, scale] : learned.scales)
    all.push_back({{.name = name, .dtype = DType::F64, .shape = {std::ssize(scale)}}, std::as_bytes(std::span(scale))});
  for (const auto& [name, order] : learned.permutations)
    all.push_back({{.name = name, .dtype = DType::I64, .shape = {std::ssize(order)}}, std::as_bytes(std::span(order))});
  return all;
}

}  // namespace

std::string job_digest(const Json& job) {
  const std::string text = dump(job);
  return digest(std::as_bytes(std::span(text)));
}

void write_learned(const std::filesystem::path& file, const LearnedRotations& learned, const Json& job) {
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {"job", job_digest(job)},
                                                 {"learning", dump(learned.record)},
                                                 {"warnings", dump(learned.warnings)}};
  if (learned.seed) metadata["seed"] = std::to_string(*learned.seed);
  write_safetensors(file, tensors_of(learned), metadata);
}

std::optional<LearnedFile> find_learned(const std::filesystem::path& file, const Json& job) {
  if (!std::filesystem::exists(file)) return {};
  SafetensorsHeader header;
  try {
    header = read_safetensors_header(File::open(file));
  } catch (const Error&) {
    return {};  // something else
  }
  const auto& metadata = header.metadata;
  if (!metadata.contains("job") || !metadata.contains("learning") || !metadata.contains("warnings")) return {};
  if (metadata.at("job") != job_digest(job)) return {};
  const std::string text = read_text(file, int64_t{1} << 40);
  LearnedFile learned{.seed = {},
                      .record = parse_json(metadata.at("learning"), file.string()),
                      .warnings = parse_json(metadata.at("warnings"), file.string()),
                      .empty = header.tensors.empty(),
                      .digest = digest(std::as_bytes(std::span(text)))};
  if (const auto seed = metadata.find("seed"); seed != metadata.end()) learned.seed = std::stoull(seed->second);
  return learned;
}

}  // namespace spinor::learning
