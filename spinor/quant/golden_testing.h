// For tests: cases that scripts in tests/golden write about quantized weights.
#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "spinor/base/json.h"
#include "spinor/quant/weight_layout.h"

namespace spinor::testing_quant {

inline Json golden_cases(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(std::string(SPINOR_SOURCE_DIR) + "/tests/golden/" + file).rdbuf();
  return parse_json(text.str(), file);
}

template <class E>
E value_of(const std::string& name) {
  for (const EnumName<E>& row : enum_names(E()))
    if (row.name == name) return row.value;
  throw std::invalid_argument(name);
}

inline QuantizationArgs args_of(const Json& json) {
  QuantizationArgs args;
  args.num_bits = json["num_bits"];
  args.type = value_of<QuantizationType>(json["type"]);
  args.symmetric = json["symmetric"];
  args.strategy = value_of<QuantizationStrategy>(json["strategy"]);
  if (json.contains("group_size")) args.group_size = json["group_size"].get<int64_t>();
  if (json.contains("block_structure"))
    args.block_structure = json["block_structure"].get<std::pair<int64_t, int64_t>>();
  if (json.contains("scale_dtype")) args.scale_dtype = json["scale_dtype"].get<std::string>();
  return args;
}

inline WeightLayout layout_of(const Json& one) {
  return {args_of(one["args"]), one["format"], one["shape"][0], one["shape"][1],
          find_dtype(one["dtype"].get<std::string>())->dtype};
}

inline std::string name_of(const Json& one) {
  return one["format"].get<std::string>() + " " + one["dtype"].get<std::string>() + " " + one["args"].dump();
}

inline std::vector<std::byte> bytes_of(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

}  // namespace spinor::testing_quant
