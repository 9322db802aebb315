// XXH3-128, the digest that tells whether bytes are still the ones that were written. Not a cryptographic one.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace spinor {

// Digests bytes as they come, several GB/s on one core.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  // 32 lower-case hexadecimal digits of all bytes so far, as `xxh128sum` prints them.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string digest(std::span<const std::byte> bytes);

}  // namespace spinor
