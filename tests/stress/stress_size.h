#pragma once

#include <cstdint>
#include <cstdlib>

namespace godwit {

/// How often a stress loop runs: `small` times GODWIT_STRESS_FACTOR (1 when not set).
inline std::uint64_t stress_size(std::uint64_t small) {
  const char* factor = std::getenv("GODWIT_STRESS_FACTOR");
  return factor == nullptr ? small : small * std::strtoull(factor, nullptr, 10);
}

}  // namespace godwit
