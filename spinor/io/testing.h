// What the tests and fuzzers of file formats share. Not for the library.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/base/testing.h"
#include "spinor/io/file.h"
#include "spinor/io/safetensors.h"

namespace spinor::testing {

// A new directory, deleted with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "spinor-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw system_error(name, "cannot create a temporary directory", errno);
    path_ = std::filesystem::canonical(name);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// A safetensors file of these tensors (begin and end are ignored) whose byte i is i mod 251.
inline void write_safetensors(const std::filesystem::path& path, std::vector<TensorInfo> tensors) {
  const std::string header = make_safetensors_header(tensors, {{"format", "pt"}});
  std::string bytes = header;
  bytes.resize(tensors.empty() ? header.size() : static_cast<size_t>(tensors.back().end));
  for (size_t i = header.size(); i < bytes.size(); ++i) bytes[i] = static_cast<char>(i % 251);
  write_text(path, bytes);
}

// A small file system of its own, where mounting is allowed. Only inside in_child(), with which it goes.
class MountedDirectory {
 public:
  explicit MountedDirectory(const std::string& tmpfs_options) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      reason_ = "no mount namespace: " + std::generic_category().message(errno);
    else if (::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, tmpfs_options.c_str()) != 0)
      reason_ = "mounting is not allowed: " + std::generic_category().message(errno);
  }
  ~MountedDirectory() {
    if (mounted()) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }

  bool mounted() const { return reason_.empty(); }
  const std::string& reason() const { return reason_; }
  const std::filesystem::path& path() const { return directory_.path(); }
  std::filesystem::path operator/(std::string_view name) const { return path() / name; }

 private:
  TemporaryDirectory directory_;
  std::string reason_;
};

// What work() returns, computed in a child process: limits, mounts and signals of the child are not ours.
template <typename Work>
std::string in_child(Work work) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text;
    try {
      text = work();
    } catch (const std::exception& error) {
      text = std::string("exception: ") + error.what();
    }
    const bool written = ::write(ends[1], text.data(), text.size()) == std::ssize(text);
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(count));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? "killed by signal " + std::to_string(WTERMSIG(status)) : text;
}

}  // namespace spinor::testing
