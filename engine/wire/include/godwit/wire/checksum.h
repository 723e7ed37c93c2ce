#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace godwit::wire {

/// XXH3-64 (seed 0) of `bytes`. It finds damage, it does not stop forgery.
/// Thread: any. Source: https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md
[[nodiscard]] std::uint64_t hash64(std::span<const std::byte> bytes);
/// Of bytes in two pieces.
[[nodiscard]] std::uint64_t hash64(std::span<const std::byte> first,
                                   std::span<const std::byte> second);

/// hash64() of bytes that arrive in pieces. A sender feeds it a frame's prefix and then each page
/// as it is copied. Reusable through reset(). Cost: one allocation in the constructor, none
/// afterwards. Thread: one at a time.
class BodyHasher {
 public:
  BodyHasher();
  void reset();
  void update(std::span<const std::byte> bytes);
  /// The hash of everything since reset(); more may follow.
  [[nodiscard]] std::uint64_t digest() const;

 private:
  struct Free {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Free> state_;
};

}  // namespace godwit::wire
