#pragma once

#include <cstdint>
#include <span>

namespace godwit::lab {

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

/// Requires: values is not empty.
Spread spread_of(std::span<const double> values);

/// Are two sets of measurements different, or could the labels A and B have been dealt the other
/// way round?
///
/// Guarantees: the two-sided p-value of the permutation test on ranks (ties share their mean rank):
/// the share of all ways to deal the labels whose rank sum lies at least as far from its
/// expectation as the one that was seen. Ranks, because the times of a machine have outliers that
/// would own any mean. Exact up to 200 000 ways, else 200 000 drawn from a fixed seed. 1 when a
/// side is empty.
double permutation_p(std::span<const double> a, std::span<const double> b);

/// The smallest p-value that runs of this many a side can give: above `alpha`, no difference can be
/// found, however large.
double smallest_p(std::uint64_t runs_a, std::uint64_t runs_b);

}  // namespace godwit::lab
