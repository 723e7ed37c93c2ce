#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace godwit {

/// Latency histogram: 64 powers of two, 16 steps each (relative error 1/16). Units: nanoseconds.
/// Thread: one writer; read after joining it. Cost: 8 KiB, no allocation.
class Histogram {
 public:
  /// Numbers of buckets are below this.
  static constexpr std::uint32_t kBuckets = 64 * 16;

  void record(std::uint64_t ns);
  void merge(const Histogram& other);
  /// The value below which a share `quantile` (0..1) of the samples lies (upper edge of its bucket,
  /// at most max()).
  [[nodiscard]] std::uint64_t quantile(double quantile) const;
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }
  /// The buckets that hold samples, as {number, count}, by number: what travels to another process.
  [[nodiscard]] std::vector<std::pair<std::uint32_t, std::uint64_t>> buckets() const;
  /// The largest value of a bucket of buckets(), at most max().
  [[nodiscard]] std::uint64_t upper_ns(std::uint32_t bucket) const;
  /// Adds samples to a bucket by its number; numbers out of range are ignored (they come from a
  /// peer).
  void add_bucket(std::uint32_t bucket, std::uint64_t count);
  void raise_max(std::uint64_t ns);

 private:
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace godwit
