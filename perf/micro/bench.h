#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "godwit/base/random.h"
#include "godwit/wire/checksum.h"

namespace godwit::micro {

/// Bytes that do not compress, the same for the same seed.
inline void fill_random(std::span<std::byte> bytes, std::uint64_t seed) {
  SplitMix64 random(seed);
  for (std::size_t at = 0; at + sizeof(std::uint64_t) <= bytes.size();
       at += sizeof(std::uint64_t)) {
    const auto value = random.next();
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
}

inline std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  fill_random(bytes, seed);
  return bytes;
}

/// Folds a number into a running hash; order matters.
inline std::uint64_t fold(std::uint64_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x9E3779B97F4A7C15ULL + (hash >> 29);
}

/// The result of one iteration: all iterations of a benchmark must compute the same, or it stops
/// with an error.
class Outcome {
 public:
  explicit Outcome(benchmark::State& state) : state_(state) {}
  void is(std::uint64_t hash) {
    if (seen_ && hash != hash_) {
      state_.SkipWithError("two iterations computed different results");
    }
    seen_ = true;
    hash_ = hash;
  }
  ~Outcome() { state_.SetLabel(fmt::format("hash={:016x}", hash_)); }
  Outcome(const Outcome&) = delete;
  Outcome& operator=(const Outcome&) = delete;

 private:
  benchmark::State& state_;
  bool seen_ = false;
  std::uint64_t hash_ = 0;
};

}  // namespace godwit::micro
