// Files as RAII values: positioned reads and writes, errors with the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "spinor/base/error.h"

namespace spinor {

// Error(path, "problem: the system's words for error_number", what to do about it where that is known).
SystemError system_error(const std::filesystem::path& path, std::string_view problem, int error_number);

// work(), with std::filesystem's errors turned into ours.
template <typename Work>
auto with_system_errors(Work work) {
  try {
    return work();
  } catch (const std::filesystem::filesystem_error& error) {
    throw system_error(error.path1(), "not accessible", error.code().value());
  }
}

// A regular file. Reads are pread, not a mapping: memory stays bounded by the caller's buffers, and a file that shrinks
// under us is an Error, not a SIGBUS. All functions may be called from several threads at once. Writing beyond
// RLIMIT_FSIZE is an Error too, provided the process ignores SIGXFSZ.
class File {
 public:
  static File open(const std::filesystem::path& path);  // read only
  // Read-write, of exactly this size, its bytes kept as far as there are any and the disk space of all of it reserved
  // where the file system can do that: a disk that is too full shows here, and the file is left as it was. A symbolic
  // link is not followed.
  static File create(const std::filesystem::path& path, int64_t bytes);
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  const std::filesystem::path& path() const { return path_; }
  int64_t bytes() const;
  void read(int64_t offset, std::span<std::byte> out) const;  // all of it, or Error
  void write(int64_t offset, std::span<const std::byte> in);  // all of it, or Error (disk full, file size limit)
  void sync();                                                // fsync
  // Hints, about bytes [begin, end): write what is dirty to disk now; they will not be read or written again.
  void start_writeback(int64_t begin, int64_t end);
  void drop_cache(int64_t begin, int64_t end) const;
  void expect_reads(int64_t offset, int64_t bytes) const;  // a hint: fetch these bytes

 private:
  File(std::filesystem::path path, int descriptor);
  void reserve(int64_t bytes);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

std::string read_text(const std::filesystem::path& path, int64_t max_bytes = 1 << 30);
// Writes to path.tmp, syncs, renames: the old file or the new one, never half of it.
void write_text(const std::filesystem::path& path, std::string_view text);
// fsync of a directory: makes the names in it survive a power failure.
void sync_directory(const std::filesystem::path& path);
// Whether the file system is one of this machine alone, as far as is known: else others may have caches of their own.
bool is_of_one_machine(const std::filesystem::path& directory);
// "1.23 GB": decimal units, as --max-shard-size has them.
std::string describe_bytes(int64_t bytes);

}  // namespace spinor
