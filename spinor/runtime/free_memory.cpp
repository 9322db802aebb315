#include "spinor/runtime/free_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace spinor::runtime {
namespace {

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

int64_t available() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (int64_t kilobytes = 0; file >> key >> kilobytes >> unit;)
    if (key == "MemAvailable:") return kilobytes * 1024;
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

int64_t read_number(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kUnknown;  // "max": no limit
}

}  // namespace

int64_t free_memory() {
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max"), used = read_number("/sys/fs/cgroup/memory.current");
  const bool limited = limit != kUnknown && used != kUnknown;
  return limited ? std::min(available(), std::max<int64_t>(0, limit - used)) : available();
}

}  // namespace spinor::runtime
