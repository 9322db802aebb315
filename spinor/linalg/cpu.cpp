#include "spinor/linalg/cpu.h"

#include "spinor/linalg/highway_targets.h"
//
#include <fmt/format.h>
#include <hwy/targets.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <vector>

#include "spinor/base/error.h"

namespace spinor {
namespace {

struct Level {
  std::string_view name;
  int64_t targets;  // Highway's bits
};

// Slowest first.
constexpr Level kLevels[] = {
    {"baseline", HWY_SCALAR | HWY_EMU128},
    {"neon", HWY_NEON},
    {"avx2", HWY_AVX2},
    {"avx512", HWY_AVX3},
};

const Level& find_level(std::string_view name, const char* subject) {
  std::string names;
  for (const std::string_view level : cpu_levels()) {
    if (level == name) return *std::ranges::find(kLevels, name, &Level::name);
    names.append(names.empty() ? "" : ", ").append(level);
  }
  throw Error(subject, fmt::format("no CPU level '{}' on this machine", name), "use one of " + names);
}

const Level* use(const Level& level) {
  hwy::GetChosenTarget().Update(level.targets);
  return &level;
}

const Level* first_level() {
  const char* forced = std::getenv("SPINOR_CPU");
  return use(forced != nullptr && *forced != '\0' ? find_level(forced, "SPINOR_CPU")
                                                  : find_level(cpu_levels().back(), "CPU"));
}

std::atomic<const Level*>& current() {
  static std::atomic<const Level*> level = first_level();
  return level;
}

}  // namespace

std::span<const std::string_view> cpu_levels() {
  static const std::vector<std::string_view> names = [] {
    // What the compiler was allowed to assume needs no check.
    const int64_t here = (hwy::SupportedTargets() | HWY_STATIC_TARGET) & HWY_TARGETS;
    std::vector<std::string_view> found;
    for (const Level& level : kLevels)
      if ((level.targets & here) != 0) found.push_back(level.name);
    return found;
  }();
  return names;
}

std::string_view cpu_level() {
  return current().load(std::memory_order_relaxed)->name;
}

void set_cpu_level(std::string_view level) {
  current().store(use(find_level(level, "set_cpu_level")));
}

}  // namespace spinor
