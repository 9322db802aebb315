#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/json.h"
#include "spinor/io/file.h"
#include "spinor/tokenizer/tokenizer.h"

namespace spinor::cli {
namespace {

// The "text" of every row, joined by a blank line, as papers join WikiText.
std::string joined_rows(const std::string& path, const std::string& content) {
  std::istringstream lines(content);
  std::string text, line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.empty()) continue;
    const std::string subject = fmt::format("{}:{}", path, number);
    const Json row = parse_json(line, subject);
    const auto found = row.is_object() ? row.find("text") : row.end();
    if (!row.is_object() || found == row.end() || !found->is_string())
      throw Error(subject, "is not an object with a string \"text\"");
    if (!text.empty()) text += "\n\n";
    text += found->get<std::string>();
  }
  return text;
}

std::string text_of(const std::string& path) {
  std::string content = read_text(path);
  return path.ends_with(".jsonl") ? joined_rows(path, content) : content;
}

std::vector<std::filesystem::path> text_files(const std::string& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::filesystem::path suffix = entry.path().extension();
    if (entry.is_regular_file() && (suffix == ".txt" || suffix == ".jsonl" || suffix == ".md"))
      files.push_back(entry.path());
  }
  if (files.empty()) throw Error(directory, "has no .txt, .md or .jsonl files");
  std::ranges::sort(files);
  return files;
}

}  // namespace

std::vector<int32_t> read_token_ids(const std::string& path) {
  const Json json = parse_json(read_text(path), path);
  if (!json.is_array()) throw Error(path, "is not a list of tokens");
  std::vector<int32_t> ids;
  for (const Json& id : json) {
    if (!id.is_number_integer() || !std::in_range<int32_t>(id.get<int64_t>()))
      throw Error(path, "is not a list of tokens: it has " + id.dump());
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::vector<int32_t> read_tokens(const std::string& path, const Model& model) {
  if (path.ends_with(".json")) return read_token_ids(path);
  std::vector<std::filesystem::path> files = {path};
  if (std::filesystem::is_directory(path)) files = text_files(path);
  const tokenizer::Tokenizer tokenizer = tokenizer::Tokenizer::load(model.checkpoint().directory());
  std::vector<int32_t> tokens;
  for (const std::filesystem::path& file : files) {
    const std::vector<int32_t> more = tokenizer.encode(text_of(file.string()));
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

void TextOptions::add_to(CLI::App& app, bool required) {
  auto* group = app.add_option_group("Text");
  auto* file = group->add_option("--text", text, "A text file, or .jsonl whose rows' \"text\" a blank line joins");
  group->add_option("--token-ids", token_ids, "Tokens instead of text: a JSON list")->excludes(file);
  group->add_flag("--bos", bos, "Begin every window with the tokenizer's bos token");
  if (required) group->require_option(1, 2);
}

std::vector<int32_t> TextOptions::tokens(const Model& model) const {
  if (!token_ids.empty()) return read_token_ids(token_ids);
  return tokenizer::Tokenizer::load(model.checkpoint().directory()).encode(text_of(text));
}

std::optional<int32_t> TextOptions::bos_token(const Model& model) const {
  if (!bos) return std::nullopt;
  const std::optional<int32_t> token = tokenizer::Tokenizer::load(model.checkpoint().directory()).bos();
  if (!token) throw Error("--bos", "the model's tokenizer has no bos token");
  return token;
}

}  // namespace spinor::cli
