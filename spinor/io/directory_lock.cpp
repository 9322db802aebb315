#include "spinor/io/directory_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "spinor/base/error.h"
#include "spinor/io/file.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;

bool is_named(int descriptor, const fs::path& path) {
  struct stat opened, named;
  return fstat(descriptor, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

int open_directory(const fs::path& path) {
  return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// Closes the descriptor where it throws.
void lock_descriptor(int descriptor, const fs::path& path, const DirectoryLock::Holder& holder, bool shared) {
  if (::flock(descriptor, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return;
  const int error_number = errno;
  ::close(descriptor);
  if (error_number != EWOULDBLOCK) throw system_error(path, "cannot lock", error_number);
  const std::optional<int64_t> process = holder();
  throw Error(path.string(),
              fmt::format("another run{} is writing it", process ? fmt::format(" (process {})", *process) : ""),
              "wait for it or stop it first");
}

}  // namespace

DirectoryLock::DirectoryLock(const fs::path& path, const Holder& holder, bool shared) : path_(path) {
  for (;;) {
    if (::mkdir(path_.c_str(), 0777) == 0)
      created_ = true;
    else if (errno != EEXIST)
      throw system_error(path_, "cannot create", errno);
    descriptor_ = open_directory(path_);
    if (descriptor_ < 0 && errno == ENOENT) continue;  // the other run has just finished
    if (descriptor_ < 0) throw system_error(path_, "cannot open", errno);
    lock_descriptor(descriptor_, path_, holder, shared);
    if (is_named(descriptor_, path_)) return;
    ::close(descriptor_);
    created_ = false;
  }
}

DirectoryLock::~DirectoryLock() {
  ::close(descriptor_);
}

void check_not_locked(const fs::path& path, const DirectoryLock::Holder& holder) {
  const int descriptor = open_directory(path);
  if (descriptor < 0) return;  // it is not there, or no directory: the one who wants it will say so
  lock_descriptor(descriptor, path, holder, false);
  ::close(descriptor);
}

}  // namespace spinor
