// Random draws bit-equal to torch's CPU generator, so that a seed gives the same rotation here and in
// compressed-tensors.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace spinor {

inline constexpr uint64_t kPeerSeed = 67280421310721;  // torch's default seed; what compressed-tensors always uses

// One stream of draws; each call advances it. MT19937 seeded with seed mod 2^32 (torch.Generator().manual_seed).
class Random {
 public:
  explicit Random(uint64_t seed = kPeerSeed);
  std::vector<int8_t> signs(int64_t n);         // torch.randint(0, 2, (n,)) * 2 - 1
  std::vector<int64_t> permutation(int64_t n);  // torch.randperm(n)
  double uniform_double();                      // torch.rand(dtype=float64): two outputs
  float uniform_float();                        // torch.rand(dtype=float32): one output
  // Mean 0, variance 1. Ours, not torch's: only + - * / sqrt and integers, so the same bits on every machine.
  // Marsaglia's polar method (SIAM Review 6(3), 1964); on average 5.1 outputs.
  double normal();

 private:
  std::mt19937 engine_;
};

}  // namespace spinor
