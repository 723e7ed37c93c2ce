#include "ground/stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "godwit/base/random.h"

namespace godwit::lab {
namespace {

constexpr double kWaysMax = 200'000;
constexpr std::uint64_t kDraws = 200'000;
constexpr std::uint64_t kSeed = 20;
/// Mean ranks are multiples of one half: sums that differ by less are equal but for rounding.
constexpr double kSameSum = 0.25;

double ways(std::uint64_t all, std::uint64_t chosen) {
  double count = 1;
  for (std::uint64_t i = 1; i <= chosen; ++i) {
    count *= static_cast<double>(all - chosen + i) / static_cast<double>(i);
  }
  return std::round(count);
}

std::vector<double> mean_ranks(std::span<const double> a, std::span<const double> b) {
  std::vector<double> values(a.begin(), a.end());
  values.insert(values.end(), b.begin(), b.end());
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto x, auto y) { return values[x] < values[y]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    auto end = first + 1;
    while (end < order.size() && values[order[end]] == values[order[first]]) {
      ++end;
    }
    for (auto i = first; i < end; ++i) {
      ranks[order[i]] = static_cast<double>(first + end + 1) / 2;
    }
    first = end;
  }
  return ranks;
}

/// Counts the deals that are as far out as the observed one.
class Deals {
 public:
  Deals(std::vector<double> ranks, std::size_t chosen) : ranks_(std::move(ranks)), chosen_(chosen) {
    const auto seen =
        std::accumulate(ranks_.begin(), ranks_.begin() + static_cast<std::ptrdiff_t>(chosen_), 0.0);
    expected_ = static_cast<double>(chosen_) * static_cast<double>(ranks_.size() + 1) / 2;
    distance_ = std::fabs(seen - expected_) - kSameSum;
  }

  double exact() {
    deal(0, chosen_, 0);
    return static_cast<double>(far_) / static_cast<double>(all_);
  }

  double drawn() {
    SplitMix64 random(kSeed);
    for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
      double sum = 0;
      for (std::size_t i = 0; i < chosen_; ++i) {
        std::swap(ranks_[i], ranks_[i + random.below(ranks_.size() - i)]);
        sum += ranks_[i];
      }
      count(sum);
    }
    // The deal that was seen is one of the possible ones: p is never 0.
    return static_cast<double>(far_ + 1) / static_cast<double>(all_ + 1);
  }

 private:
  void count(double sum) {
    ++all_;
    far_ += std::fabs(sum - expected_) >= distance_ ? 1 : 0;
  }
  void deal(std::size_t from, std::size_t left, double sum) {
    if (left == 0) {
      count(sum);
      return;
    }
    for (auto i = from; i + left <= ranks_.size(); ++i) {
      deal(i + 1, left - 1, sum + ranks_[i]);
    }
  }

  std::vector<double> ranks_;
  std::size_t chosen_;
  double expected_ = 0;
  double distance_ = 0;
  std::uint64_t all_ = 0;
  std::uint64_t far_ = 0;
};

}  // namespace

Spread spread_of(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const auto middle = sorted.size() / 2;
  const auto median =
      sorted.size() % 2 != 0 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return {median, sorted.front(), sorted.back()};
}

double permutation_p(std::span<const double> a, std::span<const double> b) {
  if (a.empty() || b.empty()) {
    return 1;
  }
  Deals deals(mean_ranks(a, b), a.size());
  return ways(a.size() + b.size(), a.size()) <= kWaysMax ? deals.exact() : deals.drawn();
}

double smallest_p(std::uint64_t runs_a, std::uint64_t runs_b) {
  if (runs_a == 0 || runs_b == 0) {
    return 1;
  }
  return std::min(1.0, std::max(2 / ways(runs_a + runs_b, runs_a), 1.0 / (kDraws + 1.0)));
}

}  // namespace godwit::lab
