#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ground/figures.h"
#include "ground/stats.h"
#include "rows/results_file.h"

namespace godwit::lab {

/// The figures in which a worse median is a regression: total, downtime, guest gap, CPU of both
/// sides. Others are shown.
bool is_watched(std::string_view figure);

/// One figure of one point, in both files.
struct FigureChange {
  const Figure* figure = nullptr;
  Spread a;
  Spread b;
  double ratio = 0;  ///< of medians, B over A
  double p = 1;      ///< of the permutation test
  bool different = false;
  bool worse = false;  ///< different, watched, and larger in B
};

/// One point that both files have.
struct PointChange {
  std::string name;  ///< scenario, series and what was swept
  const RunRow* example = nullptr;
  std::size_t runs_a = 0;  ///< verified
  std::size_t runs_b = 0;
  std::size_t failed_a = 0;
  std::size_t failed_b = 0;
  std::vector<FigureChange> figures;
  /// A watched figure got worse, or a larger share of runs failed than before.
  [[nodiscard]] bool worse() const;
  [[nodiscard]] bool fails_more() const;
};

struct FileChange {
  std::vector<PointChange> points;
  std::vector<std::string> only_a;  ///< points that the other file lacks
  std::vector<std::string> only_b;
  bool other_machine = false;  ///< the files come from different hosts
};

/// Compares rows of A and B that measured the same point. The result points into both.
FileChange compare_rows(const ResultRows& a, const ResultRows& b, double alpha);

}  // namespace godwit::lab
