// Files as RAII values: positioned reads and writes, errors with the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace spinor {

// A regular file. Reads are pread, not a mapping: memory stays bounded by the caller's buffers, and a file that shrinks
// under us is an Error, not a SIGBUS. All functions may be called from several threads at once.
class File {
 public:
  static File open(const std::filesystem::path& path);                    // read only
  static File create(const std::filesystem::path& path, int64_t bytes);   // read-write; reserves the bytes if new or resized
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  const std::filesystem::path& path() const { return path_; }
  int64_t bytes() const;
  void read(int64_t offset, std::span<std::byte> out) const;        // all of it, or Error
  void write(int64_t offset, std::span<const std::byte> in);        // all of it, or Error (disk full, file size limit)
  void start_writeback(int64_t offset, int64_t bytes);              // a hint: begin writing these bytes to disk now
  void drop_cache(int64_t offset, int64_t bytes) const;             // a hint: these bytes will not be read again
  void sync();                                                      // fsync

 private:
  File(std::filesystem::path path, int descriptor);
  std::filesystem::path path_;
  int descriptor_ = -1;
};

std::string read_text(const std::filesystem::path& path, int64_t max_bytes = 1 << 30);
// Writes to path.tmp, syncs, renames: the old file or the new one, never half of it.
void write_text(const std::filesystem::path& path, std::string_view text);

}  // namespace spinor
