#include "spinor/io/output_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/file.h"
#include "spinor/io/output_journals.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kReplaced = "replaced";  // in OUT.partial: the older OUT, between two renames

bool present(const fs::path& path) {
  return fs::exists(fs::symlink_status(path));
}

// Absolute, with the symbolic links of its parent resolved: what "inside" means does not depend on the spelling.
fs::path resolve(fs::path out) {
  if (!out.empty() && !out.has_filename()) out = out.parent_path();  // "out/"
  if (out.filename() == "." || out.filename() == "..") out = fs::canonical(out);
  if (!out.has_filename()) throw Error(fmt::format("'{}'", out.string()), "cannot be an output directory");
  const fs::path parent = out.has_parent_path() ? out.parent_path() : ".";
  if (!fs::is_directory(parent)) throw Error(parent.string(), "no such directory", "create it first");
  return fs::canonical(parent) / out.filename();
}

// Is one of path's ancestors, or path itself, this directory, under whatever name?
bool within(const fs::path& path, const fs::path& directory) {
  if (!fs::exists(directory)) return false;
  for (fs::path ancestor = path;; ancestor = ancestor.parent_path()) {
    if (fs::exists(ancestor) && fs::equivalent(ancestor, directory)) return true;
    if (ancestor == ancestor.root_path()) return false;
  }
}

void check_apart(const fs::path& out, const fs::path& source) {
  const fs::path model = fs::canonical(source);
  const bool inside = within(out, model), around = within(model, out);
  if (!inside && !around) return;
  const std::string problem = inside && around ? "is the model itself"
                              : inside         ? fmt::format("lies inside the model {}", model.string())
                                               : fmt::format("the model {} lies inside it", model.string());
  throw Error(out.string(), problem, "choose another output directory");
}

bool is_mount_point(const fs::path& path) {
  struct stat status, parent;
  return stat(path.c_str(), &status) == 0 && stat(path.parent_path().c_str(), &parent) == 0 &&
         status.st_dev != parent.st_dev;
}

void check_replaceable(const fs::path& out, bool replace) {
  if (!present(out)) return;
  if (!replace) throw Error(out.string(), "exists", "choose another output directory, or pass --force to replace it");
  const std::string hint = "choose another output directory, or delete it yourself";
  if (fs::is_symlink(out)) throw Error(out.string(), "is a symbolic link, which --force does not replace", hint);
  if (is_mount_point(out))
    throw Error(out.string(), "is a mount point, which --force does not replace", "choose a directory inside it");
  if (!fs::is_directory(out) || (!fs::is_empty(out) && !fs::exists(out / "config.json")))
    throw Error(out.string(), "is not a checkpoint (no config.json), which --force does not replace", hint);
}

void rename_to_nothing(const fs::path& files, const fs::path& out) {
  if (::renameat2(AT_FDCWD, files.c_str(), AT_FDCWD, out.c_str(), RENAME_NOREPLACE) == 0) return;
  const bool unsupported = errno == EINVAL || errno == ENOSYS;
  if (!unsupported || ::rename(files.c_str(), out.c_str()) != 0)
    throw system_error(out, fmt::format("cannot rename {} to it", files.string()), errno);
}

fs::path beside(const fs::path& resolved) {
  return resolved.string() + ".partial";
}

// Nothing: it has not written its journal yet.
DirectoryLock::Holder holder_of(const fs::path& partial) {
  return [journal = journal_file(partial)]() -> std::optional<int64_t> {
    try {
      return read_journal(journal).process;
    } catch (const Error&) {
      return {};
    }
  };
}

}  // namespace

fs::path partial_of(const fs::path& out) {
  return with_system_errors([&] { return beside(resolve(out)); });
}

void check_output(const fs::path& out, const fs::path& source, bool replace) {
  with_system_errors([&] {
    const fs::path resolved = resolve(out);
    check_apart(resolved, source);
    check_replaceable(resolved, replace);
    check_not_locked(beside(resolved), holder_of(beside(resolved)));
  });
}

OutputDirectory::OutputDirectory(const fs::path& out, const fs::path& source, bool replace, bool shared)
    : out_(resolve(out)), partial_(beside(out_)), replace_(replace), shared_(shared) {
  check_apart(out_, source);
  check_apart(partial_, source);
  check_replaceable(out_, replace_);
  lock_.emplace(partial_, holder_of(partial_), shared_);
  try {
    if (!shared_) recover();
    check_replaceable(out_, replace_);  // again: a run that had the lock before us may have published
  } catch (...) {
    if (created() && !shared_) fs::remove(partial_);
    throw;
  }
}

// An earlier run may have been killed between the two renames, or before it deleted what it had replaced.
void OutputDirectory::recover() {
  const fs::path replaced = partial_ / kReplaced;
  if (!present(replaced)) return;
  if (present(out_))
    fs::remove_all(replaced);
  else
    fs::rename(replaced, out_);
}

// What is deeper first.
void OutputDirectory::delete_others(const std::set<fs::path>& these) {
  std::set<fs::path> needed = these;
  for (const fs::path& file : these)
    for (fs::path parent = file.parent_path(); !parent.empty(); parent = parent.parent_path()) needed.insert(parent);
  std::vector<fs::path> others;
  for (const auto& entry : fs::recursive_directory_iterator(files()))
    if (!needed.contains(entry.path().lexically_relative(files()))) others.push_back(entry.path());
  for (auto other = others.rbegin(); other != others.rend(); ++other) fs::remove(*other);
}

void OutputDirectory::clear() {
  for (const auto& entry : fs::directory_iterator(partial_)) fs::remove_all(entry.path());
}

// The journal goes last: until then the directory is recognizable as ours.
void OutputDirectory::remove() {
  fs::remove_all(files());
  fs::remove_all(partial_ / kReplaced);
  clear();
  fs::remove(partial_);
}

// In one step, so that ranks that still look see all of OUT.partial or none: file by file, one could claim it anew.
void OutputDirectory::set_aside() {
  const fs::path aside = partial_.string() + ".complete";
  fs::remove_all(aside);  // of a process that was killed here
  fs::rename(partial_, aside);
  partial_ = aside;
}

void OutputDirectory::publish() {
  if (shared_) recover();  // of several ranks only one comes here
  sync_directory(partial_);
  check_replaceable(out_, replace_);
  if (!present(out_)) {
    rename_to_nothing(files(), out_);
  } else if (exchange(files(), out_)) {
    fs::rename(files(), partial_ / kReplaced);
  } else {
    rename_twice(files(), out_, partial_ / kReplaced);
  }
  sync_directory(out_.parent_path());
  try {
    if (shared_) set_aside();
    remove();
  } catch (const fs::filesystem_error& error) {
    throw Error(partial_.string(), fmt::format("cannot be deleted: {}", error.code().message()),
                fmt::format("{} is complete; delete this yourself", out_.string()));
  }
}

bool exchange(const fs::path& files, const fs::path& out) {
  return ::renameat2(AT_FDCWD, files.c_str(), AT_FDCWD, out.c_str(), RENAME_EXCHANGE) == 0;
}

void rename_twice(const fs::path& files, const fs::path& out, const fs::path& aside) {
  if (::rename(out.c_str(), aside.c_str()) != 0)
    throw system_error(out, fmt::format("cannot rename it to {}", aside.string()), errno);
  if (::rename(files.c_str(), out.c_str()) == 0) return;
  const int error_number = errno;
  fs::rename(aside, out);
  throw system_error(out, fmt::format("cannot rename {} to it", files.string()), error_number);
}

}  // namespace spinor
