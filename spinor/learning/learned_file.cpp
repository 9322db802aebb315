#include "spinor/learning/learned_file.h"

#include <span>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/json.h"
#include "spinor/io/digest.h"
#include "spinor/io/file.h"
#include "spinor/io/safetensors.h"

namespace spinor::learning {
namespace {

// Of one tensor.
struct Stored {
  TensorInfo info;
  std::span<const double> values;
};

// Names of files need not be text.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<Stored> stored(const LearnedRotations& learned) {
  std::vector<Stored> all;
  for (const auto& [name, matrix] : learned.rotations)
    all.push_back({{.name = name, .dtype = DType::F64, .shape = {matrix.rows, matrix.cols}}, matrix.data});
  for (const auto& [name, scale] : learned.scales)
    all.push_back({{.name = name, .dtype = DType::F64, .shape = {std::ssize(scale)}}, scale});
  return all;
}

// A job has paths of this machine in it, and the file goes where the model goes.
std::string digest_of(const Json& job) {
  const std::string text = dump(job);
  return digest(std::as_bytes(std::span(text)));
}

}  // namespace

void write_learned(const std::filesystem::path& file, const LearnedRotations& learned, const Json& job) {
  const std::vector<Stored> all = stored(learned);
  std::vector<TensorInfo> infos;
  for (const Stored& one : all) infos.push_back(one.info);
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {"job", digest_of(job)},
                                                 {"learning", dump(learned.record)},
                                                 {"warnings", dump(learned.warnings)}};
  if (learned.seed) metadata["seed"] = std::to_string(*learned.seed);
  std::string text = make_safetensors_header(infos, metadata);
  for (const TensorInfo& info : infos)
    for (const Stored& one : all)
      if (one.info.name == info.name) {
        const auto bytes = std::as_bytes(one.values);
        text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      }
  write_text(file, text);
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
  if (metadata.at("job") != digest_of(job)) return {};
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
