// Which Highway targets are compiled; included before any hwy header, so that every kernel has the same ones. SSSE3 and
// SSE4 would serve no machine of the last ten years; the others add nothing to these kernels.
#pragma once

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
