// What models are run on: text, or tokens.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spinor/model/model.h"

namespace spinor::cli {

// A JSON list of tokens. Error naming the file for anything else.
std::vector<int32_t> read_token_ids(const std::string& path);

// The tokens of a text file, of .jsonl rows, of all such files of a directory in the order of their names, or a JSON
// list of tokens. Errors name the file.
std::vector<int32_t> read_tokens(const std::string& path, const Model& model);

struct TextOptions {
  std::string text, token_ids;  // files
  bool bos = false;

  void add_to(CLI::App& app, bool required);
  bool given() const { return !text.empty() || !token_ids.empty(); }
  // The text in the model's tokens, as it is: no special tokens are added.
  std::vector<int32_t> tokens(const Model& model) const;
  // The token that --bos puts before every window; nothing without it.
  std::optional<int32_t> bos_token(const Model& model) const;
};

}  // namespace spinor::cli
