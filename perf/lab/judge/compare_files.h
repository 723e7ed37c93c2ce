#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "judge/difference.h"
#include "rows/results_file.h"

namespace godwit::lab {

/// The figures in which a worse median is a regression: total, downtime, guest gap, CPU of both
/// sides. Others are shown.
bool is_watched(std::string_view figure);

/// A regression: different, watched, and larger in B.
bool is_worse(const Difference& one);

/// One point that both files have.
struct PointChange {
  std::string name;  ///< scenario, series and what was swept
  const RunRow* example = nullptr;
  std::size_t runs_a = 0;  ///< verified
  std::size_t runs_b = 0;
  std::size_t failed_a = 0;
  std::size_t failed_b = 0;
  std::vector<Difference> figures;
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
