#include "run/verdict.h"

#include <fmt/format.h>

#include "ground/figures.h"
#include "ground/stats.h"

namespace godwit::lab {

Verdict judge(const Limit& limit, std::span<const Sample> runs, std::span<const Sample> against) {
  Verdict verdict;
  const auto values = values_of(runs, limit.figure);
  const auto others = values_of(against, limit.figure);
  if (values.empty() || (limit.ratio_at_most && others.empty())) {
    verdict.text = fmt::format("{}: no run has this figure", limit.figure);
    return verdict;
  }
  verdict.value = spread_of(values).median;
  if (limit.ratio_at_most) {
    const auto other = spread_of(others).median;
    verdict.value = other > 0 ? verdict.value / other : 0;
    verdict.met = other > 0 && verdict.value <= *limit.ratio_at_most;
    verdict.text =
        fmt::format("{} ratio {:.3f} <= {:.3f}", limit.figure, verdict.value, *limit.ratio_at_most);
    return verdict;
  }
  const auto unit = find_figure(limit.figure)->unit;
  const bool low = limit.at_least.has_value();
  const auto bound = low ? *limit.at_least : *limit.at_most;
  verdict.met = low ? verdict.value >= bound : verdict.value <= bound;
  verdict.text = fmt::format("{} {} {} {}",
                             limit.figure,
                             figure_text(unit, verdict.value),
                             low ? ">=" : "<=",
                             figure_text(unit, bound));
  return verdict;
}

}  // namespace godwit::lab
