// For tests: the tiny models of tests/architectures, as transformers saves and names them, and checkpoints made from
// them.
#pragma once

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/checkpoint.h"
#include "spinor/io/testing.h"

namespace spinor::testing {

struct ArchitectureCase {
  std::string name;  // "llama: tied with biases"
  Json config;
  std::vector<TensorInfo> tensors;  // BF16
  struct TorchModule {
    std::string name;
    std::vector<std::string> classes;
  };
  std::vector<TorchModule> modules;  // named_modules()

  TensorInfo& tensor(const std::string& wanted) {
    for (TensorInfo& tensor : tensors)
      if (tensor.name == wanted) return tensor;
    throw Error(wanted, "is not in the case " + name);
  }
  void remove(const std::string& unwanted) {
    std::erase_if(tensors, [&](const TensorInfo& tensor) { return tensor.name == unwanted; });
  }
};

inline constexpr std::array kFamilies = {"granite", "llama", "mistral", "qwen2", "qwen3", "smollm3"};

inline std::ifstream open_architecture(const std::string& family) {
  const auto path = std::filesystem::path(SPINOR_SOURCE_DIR) / "tests/architectures" / (family + ".txt");
  std::ifstream file(path);
  if (!file) throw Error(path.string(), "cannot be read");
  return file;
}

// The line "defaults" of the same file.
inline Json read_architecture_defaults(const std::string& family) {
  std::ifstream file = open_architecture(family);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("defaults ")) return Json::parse(line.substr(9));
  throw Error(family + ".txt", "holds no defaults");
}

// The cases of tests/architectures/<family>.txt, a file that tests/golden/make_architectures.py writes.
inline std::vector<ArchitectureCase> read_architecture_cases(const std::string& family) {
  std::vector<ArchitectureCase> cases;
  std::ifstream file = open_architecture(family);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, name, word;
    words >> kind;
    if (kind == "case") cases.push_back({family + ": " + line.substr(5), {}, {}, {}});
    if (kind == "config") cases.back().config = Json::parse(line.substr(7));
    if (kind == "tensor") {
      TensorInfo tensor{.name = "", .dtype = DType::BF16, .shape = {}};
      words >> tensor.name;
      while (words >> word) tensor.shape.push_back(std::stoll(word));
      cases.back().tensors.push_back(std::move(tensor));
    }
    if (kind == "module") {
      ArchitectureCase::TorchModule module;
      words >> module.name;
      if (module.name == "-") module.name.clear();
      while (words >> word) module.classes.push_back(word);
      cases.back().modules.push_back(std::move(module));
    }
  }
  return cases;
}

inline std::vector<ArchitectureCase> read_architecture_cases() {
  std::vector<ArchitectureCase> all;
  for (const char* family : kFamilies)
    for (ArchitectureCase& one : read_architecture_cases(family)) all.push_back(std::move(one));
  return all;
}

inline ArchitectureCase read_architecture_case(const std::string& family, const std::string& name) {
  for (ArchitectureCase& one : read_architecture_cases(family))
    if (one.name == family + ": " + name) return one;
  throw Error(family + ".txt", "has no case " + name);
}

// Writes config.json and model.safetensors. All bytes of a tensor are the one that `fill` gives for its name, else
// zero.
inline Checkpoint write_checkpoint(const std::filesystem::path& directory, ArchitectureCase model,
                                   const std::map<std::string, char>& fill = {}) {
  std::ofstream(directory / "config.json") << model.config.dump(2);
  std::string bytes = make_safetensors_header(model.tensors, {{"format", "pt"}});
  for (const TensorInfo& tensor : model.tensors) {
    const auto found = fill.find(tensor.name);
    bytes.append(static_cast<size_t>(tensor.bytes()), found == fill.end() ? '\0' : found->second);
  }
  std::ofstream(directory / "model.safetensors", std::ios::binary) << bytes;
  return Checkpoint::open(directory);
}

}  // namespace spinor::testing
