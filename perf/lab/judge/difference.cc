#include "judge/difference.h"

#include <fmt/format.h>

namespace godwit::lab {
namespace {

std::string spread_text(Unit unit, const Spread& spread) {
  return fmt::format("{} ({} .. {})",
                     figure_text(unit, spread.median),
                     figure_text(unit, spread.min),
                     figure_text(unit, spread.max));
}

}  // namespace

std::vector<Difference> differences(std::span<const Sample> a,
                                    std::span<const Sample> b,
                                    double alpha) {
  std::vector<Difference> all;
  for (const auto& figure : figures()) {
    const auto values_a = values_of(a, figure.name);
    const auto values_b = values_of(b, figure.name);
    if (values_a.empty() || values_b.empty()) {
      continue;
    }
    Difference one{&figure, spread_of(values_a), spread_of(values_b)};
    one.ratio = one.a.median != 0 ? one.b.median / one.a.median : 0;
    one.p = permutation_p(values_a, values_b);
    one.different = one.p < alpha;
    all.push_back(one);
  }
  return all;
}

Json spread_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

Json difference_json(const Difference& one) {
  return {{"a", spread_json(one.a)},
          {"b", spread_json(one.b)},
          {"ratio", one.ratio},
          {"p", one.p},
          {"different", one.different}};
}

std::vector<std::string> difference_head() {
  return {"", "A median (range)", "B median (range)", "B/A", "p", ""};
}

std::vector<std::string> difference_cells(const Difference& one, const std::string& verdict) {
  return {one.figure->name,
          spread_text(one.figure->unit, one.a),
          spread_text(one.figure->unit, one.b),
          fmt::format("{:.3f}", one.ratio),
          fmt::format("{:.4f}", one.p),
          verdict};
}

}  // namespace godwit::lab
