#pragma once

#include <span>
#include <string>
#include <vector>

#include "godwit/json/json.h"

#include "ground/figures.h"
#include "ground/stats.h"
#include "rows/sample.h"

namespace godwit::lab {

/// One figure of sides A and B.
struct Difference {
  const Figure* figure = nullptr;
  Spread a;
  Spread b;
  double ratio = 0;  ///< of medians, B over A; 0 where A's is 0
  double p = 1;      ///< of the permutation test
  bool different = false;
};

/// The figures that both sides have, in the order of figures(). `alpha`: different below this p.
std::vector<Difference> differences(std::span<const Sample> a,
                                    std::span<const Sample> b,
                                    double alpha);

/// {"median": .., "min": .., "max": ..}
Json spread_json(const Spread& spread);
/// A difference as a member of a row's `figures`.
Json difference_json(const Difference& one);

/// The head of a table of differences, and one of its rows with a word on it at the end.
std::vector<std::string> difference_head();
std::vector<std::string> difference_cells(const Difference& one, const std::string& verdict);

}  // namespace godwit::lab
