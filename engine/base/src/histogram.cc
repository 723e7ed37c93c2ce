#include "godwit/base/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace godwit {
namespace {

constexpr unsigned kStepBits = 4;

unsigned bucket_of(std::uint64_t ns) {
  if (ns < (1U << kStepBits)) {
    return static_cast<unsigned>(ns);
  }
  const auto top = static_cast<unsigned>(std::bit_width(ns)) - 1;
  const auto step = static_cast<unsigned>((ns >> (top - kStepBits)) & ((1U << kStepBits) - 1));
  return ((top - kStepBits + 1) << kStepBits) + step;
}

std::uint64_t upper_edge(unsigned bucket) {
  if (bucket < (1U << kStepBits)) {
    return bucket;
  }
  const unsigned shift = (bucket >> kStepBits) - 1;
  const std::uint64_t step = (bucket & ((1U << kStepBits) - 1)) + (1U << kStepBits);
  return ((step + 1) << shift) - 1;
}

}  // namespace

void Histogram::record(std::uint64_t ns) {
  ++buckets_[bucket_of(ns)];
  ++count_;
  max_ = std::max(max_, ns);
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    buckets_[i] += other.buckets_[i];
  }
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

std::vector<std::pair<std::uint32_t, std::uint64_t>> Histogram::buckets() const {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> out;
  for (std::uint32_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i] != 0) {
      out.emplace_back(i, buckets_[i]);
    }
  }
  return out;
}

std::uint64_t Histogram::upper_ns(std::uint32_t bucket) const {
  return std::min(upper_edge(bucket), max_);
}

void Histogram::add_bucket(std::uint32_t bucket, std::uint64_t count) {
  if (bucket < buckets_.size()) {
    buckets_[bucket] += count;
    count_ += count;
  }
}

void Histogram::raise_max(std::uint64_t ns) {
  max_ = std::max(max_, ns);
}

std::uint64_t Histogram::quantile(double quantile) const {
  if (count_ == 0) {
    return 0;
  }
  // A count that a double rounds up may lie outside of what an integer holds.
  const auto wanted = std::ceil(quantile * static_cast<double>(count_));
  const auto rank =
      wanted >= static_cast<double>(count_) ? count_ : static_cast<std::uint64_t>(wanted);
  std::uint64_t seen = 0;
  for (unsigned i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= std::max<std::uint64_t>(rank, 1)) {
      return upper_ns(i);
    }
  }
  return max_;
}

}  // namespace godwit
