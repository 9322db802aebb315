// OUT and OUT.partial: who may write where, and how a complete directory takes the place of nothing or of an older one.
#pragma once

#include <filesystem>
#include <optional>
#include <set>

#include "spinor/io/directory_lock.h"

namespace spinor {

// What OutputDirectory would refuse by now; for those who have long work to do before they write.
void check_output(const std::filesystem::path& out, const std::filesystem::path& source, bool replace);

// OUT.partial, whatever way `out` is spelled. Error if it cannot be an output directory, or its parent does not exist.
std::filesystem::path partial_of(const std::filesystem::path& out);

// OUT.partial, locked. It holds the journal and, in files/, what will be OUT: OUT never has a file that is not its own,
// and until it is there OUT.partial has all that a resume needs.
class OutputDirectory {
 public:
  // Creates OUT.partial or opens the one that is there. Throws an Error if OUT exists and `replace` is not set (or is
  // not a checkpoint, which nobody would want replaced), if OUT is, contains or lies in `source`, if its parent does
  // not exist, or if another run (on this machine) has OUT.partial.
  // `shared`: with others that say so.
  OutputDirectory(const std::filesystem::path& out, const std::filesystem::path& source, bool replace,
                  bool shared = false);
  // Gives the lock back; OUT.partial stays.
  ~OutputDirectory() = default;
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  const std::filesystem::path& out() const { return out_; }
  const std::filesystem::path& partial() const { return partial_; }
  std::filesystem::path files() const { return partial_ / "files"; }
  bool created() const { return lock_->created(); }  // by us: nothing was there

  // Deletes what is in files() and not one of these, which are relative.
  void delete_others(const std::set<std::filesystem::path>& these);
  // Deletes all that is in OUT.partial.
  void clear();
  // Deletes OUT.partial.
  void remove();
  // files/ becomes OUT, in one step where the file system has one for two existing directories, and then the older OUT
  // and OUT.partial are deleted.
  void publish();

 private:
  void recover();
  void set_aside();

  std::filesystem::path out_, partial_;
  bool replace_, shared_;
  std::optional<DirectoryLock> lock_;
};

// The two ways of publish() to put `files` at `out`, which exists, and the older one at `aside`. The first returns
// false, having done nothing, if the file system cannot do it.
bool exchange(const std::filesystem::path& files, const std::filesystem::path& out);
void rename_twice(const std::filesystem::path& files, const std::filesystem::path& out,
                  const std::filesystem::path& aside);

}  // namespace spinor
