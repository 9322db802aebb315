#include "spinor/io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "spinor/io/whole_file.h"

namespace spinor {
namespace {

struct Remedy {
  int error_number;
  std::string_view hint;
};

constexpr std::array kRemedies = {
    Remedy{EROFS, "choose a directory on a writable file system"},
    Remedy{EACCES, "check the permissions of the file and of the directories above it"},
    Remedy{EPERM, "check the permissions of the file and of the directories above it"},
    Remedy{ENOSPC, "free some space or choose a directory on another disk"},
    Remedy{EDQUOT, "free some of your quota or choose a directory on another disk"},
    Remedy{EFBIG, "raise the file size limit (ulimit -f) or write smaller shards"},
    Remedy{EMFILE, "raise the number of open files (ulimit -n)"},
};

// Repeats a system call that a signal interrupted.
template <typename Call>
auto retry(Call call) {
  decltype(call()) result;
  do result = call();
  while (result == -1 && errno == EINTR);
  return result;
}

std::string range(int64_t offset, size_t bytes) {
  return fmt::format("{} bytes at byte {}", bytes, offset);
}

std::string free_space(int descriptor) {
  struct statvfs volume;
  if (fstatvfs(descriptor, &volume) != 0 || volume.f_blocks == 0) return "";
  return fmt::format(", {} are free", describe_bytes(static_cast<int64_t>(volume.f_bavail * volume.f_frsize)));
}

}  // namespace

SystemError system_error(const std::filesystem::path& path, std::string_view problem, int error_number) {
  std::string hint;
  for (const Remedy& remedy : kRemedies)
    if (remedy.error_number == error_number) hint = remedy.hint;
  return SystemError(path.string(), fmt::format("{}: {}", problem, std::generic_category().message(error_number)), hint,
                     error_number);
}

File::File(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
File::File(File&& other) noexcept : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}
File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File File::open(const std::filesystem::path& path) {
  // Non-blocking: opening a FIFO must not wait for its writer.
  const int descriptor = retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (descriptor < 0) throw system_error(path, "cannot open", errno);
  File file(path, descriptor);
  struct stat status;
  if (fstat(descriptor, &status) != 0) throw system_error(path, "cannot stat", errno);
  if (!S_ISREG(status.st_mode)) throw Error(path.string(), "is not a regular file");
  return file;
}

File File::create(const std::filesystem::path& path, int64_t bytes) {
  const bool existed = std::filesystem::exists(std::filesystem::symlink_status(path));
  const int descriptor = retry([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666); });
  if (descriptor < 0) throw system_error(path, "cannot create", errno);
  File file(path, descriptor);
  try {
    file.reserve(bytes);
  } catch (const Error&) {
    if (!existed) ::unlink(path.c_str());
    throw;
  }
  return file;
}

void File::reserve(int64_t bytes) {
  const int64_t before = this->bytes();
  // fallocate, not posix_fallocate: where it is unsupported, the latter writes into every block.
  if (bytes > 0 && retry([&] { return ::fallocate(descriptor_, 0, 0, bytes); }) != 0 && errno != EOPNOTSUPP) {
    const int error_number = errno;
    const std::string free = error_number == ENOSPC ? free_space(descriptor_) : "";
    (void)!::ftruncate(descriptor_, before);  // gives the part back that could be had; its failure is not the news
    throw system_error(path_, fmt::format("cannot reserve {}{}", describe_bytes(bytes), free), error_number);
  }
  if (this->bytes() != bytes && retry([&] { return ::ftruncate(descriptor_, bytes); }) != 0)
    throw system_error(path_, "cannot set its size to " + describe_bytes(bytes), errno);
}

int64_t File::bytes() const {
  struct stat status;
  if (fstat(descriptor_, &status) != 0) throw system_error(path_, "cannot stat", errno);
  return status.st_size;
}

void File::read(int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = retry([&] { return ::pread(descriptor_, out.data(), out.size(), offset); });
    if (count < 0) throw system_error(path_, "cannot read " + range(offset, out.size()), errno);
    if (count == 0)
      throw Error(path_.string(), fmt::format("ends at byte {}, cannot read {}", bytes(), range(offset, out.size())),
                  "it became shorter while it was read, or is truncated");
    out = out.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

void File::write(int64_t offset, std::span<const std::byte> in) {
  while (!in.empty()) {
    const ssize_t count = retry([&] { return ::pwrite(descriptor_, in.data(), in.size(), offset); });
    if (count < 0) throw system_error(path_, "cannot write " + range(offset, in.size()), errno);
    in = in.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

// To either call 0 bytes are all bytes of the file.
void File::start_writeback(int64_t begin, int64_t end) {
  if (end > begin) (void)::sync_file_range(descriptor_, begin, end - begin, SYNC_FILE_RANGE_WRITE);
}

void File::drop_cache(int64_t begin, int64_t end) const {
  if (end > begin) (void)::posix_fadvise(descriptor_, begin, end - begin, POSIX_FADV_DONTNEED);
}

void File::expect_reads(int64_t offset, int64_t bytes) const {
  if (bytes > 0) (void)::posix_fadvise(descriptor_, offset, bytes, POSIX_FADV_WILLNEED);
}

void File::sync() {
  if (retry([&] { return ::fsync(descriptor_); }) != 0) throw system_error(path_, "cannot sync to disk", errno);
}

std::string read_text(const std::filesystem::path& path, int64_t max_bytes) {
  const File file = File::open(path);
  const int64_t bytes = file.bytes();
  if (bytes > max_bytes) throw Error(path.string(), fmt::format("has {} bytes, the limit is {}", bytes, max_bytes));
  std::string text(static_cast<size_t>(bytes), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  write_whole(path, std::ssize(text), [&](File& file) { file.write(0, std::as_bytes(std::span(text))); });
}

void sync_directory(const std::filesystem::path& path) {
  const int descriptor = retry([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0) throw system_error(path, "cannot open", errno);
  const int result = retry([&] { return ::fsync(descriptor); });
  const int error_number = errno;
  ::close(descriptor);
  // Some file systems cannot sync a directory and say so with EINVAL; they keep names in order on their own.
  if (result != 0 && error_number != EINVAL) throw system_error(path, "cannot sync to disk", error_number);
}

bool is_of_one_machine(const std::filesystem::path& directory) {
  constexpr std::array<uint32_t, 5> kLocal = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
                                              OVERLAYFS_SUPER_MAGIC};
  struct statfs volume;
  if (::statfs(directory.c_str(), &volume) != 0) return false;
  return std::ranges::any_of(kLocal, [&](auto magic) { return static_cast<uint32_t>(volume.f_type) == magic; });
}

std::string describe_bytes(int64_t bytes) {
  constexpr std::array<std::string_view, 5> units = {"bytes", "KB", "MB", "GB", "TB"};
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < units.size(); ++unit) value /= 1000;
  return fmt::format("{:.2f} {}", value, units[unit]);
}

}  // namespace spinor
