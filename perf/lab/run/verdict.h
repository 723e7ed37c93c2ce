#pragma once

#include <span>
#include <string>

#include "rows/sample.h"
#include "scenario/scenario.h"

namespace godwit::lab {

struct Verdict {
  bool met = false;
  double value = 0;  ///< the median, or the ratio of medians
  std::string text;  ///< "page_rate_of_stream 0.512 >= 0.400"
};

/// Judges medians. A figure that no run has is a limit that is not met.
Verdict judge(const Limit& limit, std::span<const Sample> runs, std::span<const Sample> against);

}  // namespace godwit::lab
