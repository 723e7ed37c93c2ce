#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace godwit {

inline constexpr std::uint64_t kPageShift = 12;
inline constexpr std::uint64_t kPageBytes = 1ULL << kPageShift;
inline constexpr std::uint64_t kKiB = 1ULL << 10;
inline constexpr std::uint64_t kMiB = 1ULL << 20;
inline constexpr std::uint64_t kGiB = 1ULL << 30;

/// Region number in the machine description, from 0.
using RegionIndex = std::uint32_t;

/// One guest page: page `index` of region `region`; pages are 4 KiB.
struct PageId {
  RegionIndex region = 0;
  std::uint64_t index = 0;
  friend bool operator==(const PageId&, const PageId&) = default;
  friend auto operator<=>(const PageId&, const PageId&) = default;
};

/// Pages first .. first+count-1 of one region.
struct PageRun {
  RegionIndex region = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  friend bool operator==(const PageRun&, const PageRun&) = default;
  [[nodiscard]] std::uint64_t end() const { return first + count; }
  [[nodiscard]] std::uint64_t bytes() const { return count << kPageShift; }
};

}  // namespace godwit
