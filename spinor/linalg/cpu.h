// Which SIMD level the kernels run at: chosen once, at run time, or forced by SPINOR_CPU=baseline|avx2|avx512|neon...
#pragma once

#include <span>
#include <string_view>

namespace spinor {

// The level in use. Throws on the first use if SPINOR_CPU names a level this machine lacks.
std::string_view cpu_level();
// The levels of this binary that this machine can run, slowest first. Tests walk it.
std::span<const std::string_view> cpu_levels();
// Forces a level from now on, for the whole process; not while kernels run. Throws for a level not in cpu_levels().
void set_cpu_level(std::string_view level);

}  // namespace spinor
