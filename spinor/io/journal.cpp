#include "spinor/io/journal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "spinor/base/error.h"

namespace spinor {
namespace {

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void begin(const std::filesystem::path& path, const Json& job) {
  write_text(path, line_of({{"job", job}}));
}

std::optional<Json> parse_line(std::string_view line, const std::string& subject) {
  try {
    Json json = parse_json(line, subject);
    if (json.is_object()) return json;
  } catch (const Error&) {  // torn
  }
  return std::nullopt;
}

// False if it is no line of ours.
bool take(const Json& line, JournalLines& lines) {
  const auto text = [&](const char* key) { return line.contains(key) && line[key].is_string(); };
  if (line.contains("process") && line["process"].is_number_integer())
    lines.process = line["process"].get<int64_t>();
  else if (text("tensor") && text("digest") && line.contains("entry"))
    lines.finished.push_back({line["tensor"], line["digest"], line["entry"]});
  else
    return false;
  return true;
}

std::string shown(const Json& json, const std::string& key) {
  constexpr size_t kLongest = 60;
  if (!json.contains(key)) return "absent";
  std::string text = json[key].dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kLongest) text.replace(kLongest, text.npos, "...");
  return text;
}

void compare(const std::string& prefix, const Json& before, const Json& now, std::vector<std::string>& found) {
  std::vector<std::string> keys;
  for (const Json* json : {&before, &now})
    for (const auto& [key, _] : json->items())
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  for (const std::string& key : keys) {
    const bool both = before.contains(key) && now.contains(key);
    if (both && before[key].is_object() && now[key].is_object())
      compare(prefix + key + ".", before[key], now[key], found);
    else if (!both || before[key] != now[key])
      found.push_back(fmt::format("{}{} was {}, is {}", prefix, key, shown(before, key), shown(now, key)));
  }
}

}  // namespace

JournalLines read_journal(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  JournalLines lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == text.npos) break;
    const auto line = parse_line(std::string_view(text).substr(at, end - at), path.string());
    if (!line) break;
    if (at == 0 && line->contains("job"))
      lines.job = (*line)["job"];
    else if (at == 0 || !take(*line, lines))
      break;
    at = end + 1;
    lines.bytes = static_cast<int64_t>(at);
  }
  if (!lines.job.is_object())
    throw Error(path.string(), "does not begin with a job",
                "delete the directory it is in, or pass --discard-partial to start again");
  return lines;
}

std::vector<std::string> differences(const Json& before, const Json& now) {
  std::vector<std::string> found;
  compare("", before, now, found);
  return found;
}

Journal::Journal(const std::filesystem::path& path, const Json& job)
    : Journal(path, (begin(path, job), read_journal(path))) {}

Journal::Journal(const std::filesystem::path& path, const JournalLines& lines)
    : file_(File::create(path, lines.bytes)), end_(lines.bytes) {
  append({{"process", ::getpid()}});
}

void Journal::add(const FinishedTensor& tensor) {
  const std::lock_guard lock(mutex_);
  append({{"tensor", tensor.tensor}, {"digest", tensor.digest}, {"entry", tensor.entry}});
}

void Journal::append(const Json& line) {
  const std::string text = line_of(line);
  file_.write(end_, std::as_bytes(std::span(text)));
  end_ += std::ssize(text);
}

}  // namespace spinor
