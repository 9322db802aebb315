// A directory that one run at a time works in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

namespace spinor {

// Created or opened, and locked for as long as the value lives, on this machine; the directory stays.
class DirectoryLock {
 public:
  // The process that has it, as far as its files say.
  using Holder = std::function<std::optional<int64_t>()>;

  // Error if another run has it; `shared`: one that does not share it. A symbolic link is not followed.
  DirectoryLock(const std::filesystem::path& path, const Holder& holder, bool shared = false);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  const std::filesystem::path& path() const { return path_; }
  bool created() const { return created_; }  // by us: nothing was there

 private:
  std::filesystem::path path_;
  bool created_ = false;
  int descriptor_ = -1;
};

// The same error if another run has the directory by now; nothing is created.
void check_not_locked(const std::filesystem::path& path, const DirectoryLock::Holder& holder);

}  // namespace spinor
