#include "spinor/model/hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <string>

#include "spinor/base/error.h"
#include "spinor/io/file.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;

struct CachedModel {
  std::string name;      // "org/name"
  std::string revision;  // branch, tag or commit
};

// $NAME and ${NAME} replaced by what the variable holds; one that is not set stays as it is written.
std::string with_variables(std::string text) {
  const auto ends = [](unsigned char c) { return !std::isalnum(c) && c != '_'; };
  for (size_t at = text.find('$'); at != text.npos; at = text.find('$', at)) {
    const bool braced = text.compare(at, 2, "${") == 0;
    const auto begin = text.begin() + static_cast<std::ptrdiff_t>(at + (braced ? 2 : 1));
    const auto end = std::find_if(begin, text.end(), ends);
    const bool closed = !braced || (end != text.end() && *end == '}');
    const char* value = closed && begin != end ? std::getenv(std::string(begin, end).c_str()) : nullptr;
    if (value) text.replace(text.begin() + static_cast<std::ptrdiff_t>(at), end + (braced ? 1 : 0), value);
    at += value ? std::string_view(value).size() : 1;
  }
  return text;
}

// A variable that is empty counts as unset.
std::optional<fs::path> path_from(const char* variable) {
  const char* value = std::getenv(variable);
  if (!value || !*value) return std::nullopt;
  const std::string text = with_variables(value);
  const char* home = std::getenv("HOME");
  if (home && (text == "~" || text.starts_with("~/"))) return fs::path(home + text.substr(1));
  return fs::path(text);
}

fs::path cache_directory() {
  if (const auto cache = path_from("HF_HUB_CACHE")) return *cache;
  if (const auto cache = path_from("HUGGINGFACE_HUB_CACHE")) return *cache;  // its name in older releases
  if (const auto home = path_from("HF_HOME")) return *home / "hub";
  if (const auto cache = path_from("XDG_CACHE_HOME")) return *cache / "huggingface/hub";
  return path_from("HOME").value_or("/") / ".cache/huggingface/hub";
}

bool is_plain(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; });
}

// Null if no repository can have this name: then it was meant as a path.
std::optional<CachedModel> parse_name(std::string_view model) {
  const size_t at = model.find('@');
  const std::string_view name = model.substr(0, at), revision = at == model.npos ? "main" : model.substr(at + 1);
  const size_t slash = name.find('/');
  const bool plain =
      slash == name.npos ? is_plain(name) : is_plain(name.substr(0, slash)) && is_plain(name.substr(slash + 1));
  const fs::path reference(revision);  // refs/pr/1 is one
  const bool inside =
      !revision.empty() && reference.is_relative() && std::ranges::find(reference, "..") == reference.end();
  if (!plain || !inside) return std::nullopt;
  return CachedModel{std::string(name), std::string(revision)};
}

std::string commit_of(const fs::path& repository, const std::string& revision) {
  const fs::path reference = repository / "refs" / revision;
  if (!fs::is_regular_file(reference)) return revision;
  std::string commit = read_text(reference, 4096);
  commit.erase(std::ranges::find_if(commit, [](unsigned char c) { return std::isspace(c); }), commit.end());
  if (!is_plain(commit)) throw Error(reference.string(), "holds no commit", "download the model again");
  return commit;
}

fs::path find_cached(const CachedModel& model) {
  const fs::path cache = cache_directory();
  const size_t slash = model.name.find('/');
  std::string folder = "models--" + model.name;
  if (slash != model.name.npos) folder.replace(folder.find('/'), 1, "--");
  const std::string download = fmt::format("give a directory, or fetch it: hf download {}", model.name);
  if (!fs::is_directory(cache / folder))
    throw Error(model.name, fmt::format("neither a directory nor in the cache {}", cache.string()), download);
  const fs::path snapshot = cache / folder / "snapshots" / commit_of(cache / folder, model.revision);
  if (!fs::is_directory(snapshot))
    throw Error(model.name, fmt::format("{} has no revision {}", (cache / folder).string(), model.revision),
                fmt::format("{} --revision {}", download, model.revision));
  return snapshot;
}

}  // namespace

fs::path resolve_model(std::string_view model) {
  return with_system_errors([&] {
    if (fs::is_directory(model)) return fs::path(model);
    if (fs::exists(model))
      throw Error(std::string(model), "is not a directory",
                  "give the directory that holds config.json and the weights");
    const auto cached = parse_name(model);
    if (!cached) throw Error(std::string(model), "no such directory");
    return find_cached(*cached);
  });
}

}  // namespace spinor
