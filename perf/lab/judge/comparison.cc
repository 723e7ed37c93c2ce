#include "judge/comparison.h"

#include <fmt/format.h>

#include "ground/figures.h"
#include "ground/stats.h"
#include "ground/table.h"

namespace godwit::lab {
namespace {

/// One figure of both sides.
struct Difference {
  const Figure* figure;
  Spread a;
  Spread b;
  double ratio = 0;  ///< of medians, B over A
  double p = 1;
};

std::vector<Difference> differences(std::span<const Sample> runs_a,
                                    std::span<const Sample> runs_b) {
  std::vector<Difference> all;
  for (const auto& figure : figures()) {
    const auto a = values_of(runs_a, figure.name);
    const auto b = values_of(runs_b, figure.name);
    if (a.empty() || b.empty()) {
      continue;
    }
    Difference one{&figure, spread_of(a), spread_of(b), 0, permutation_p(a, b)};
    one.ratio = one.a.median != 0 ? one.b.median / one.a.median : 0;
    all.push_back(one);
  }
  return all;
}

Json json_of(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

std::string text_of(Unit unit, const Spread& spread) {
  return fmt::format("{} ({} .. {})",
                     figure_text(unit, spread.median),
                     figure_text(unit, spread.min),
                     figure_text(unit, spread.max));
}

void print(const std::vector<Difference>& all, double alpha) {
  std::vector<std::vector<std::string>> rows{
      {"", "A median (range)", "B median (range)", "B/A", "p", ""}};
  for (const auto& one : all) {
    rows.push_back({one.figure->name,
                    text_of(one.figure->unit, one.a),
                    text_of(one.figure->unit, one.b),
                    fmt::format("{:.3f}", one.ratio),
                    fmt::format("{:.4f}", one.p),
                    one.p < alpha ? "different" : "-"});
  }
  fmt::print("{}", table(rows));
}

}  // namespace

Status write_comparison(const ComparedSide& a,
                        const ComparedSide& b,
                        double alpha,
                        Results& results) {
  const auto all = differences(a.samples, b.samples);
  Json row;
  row["a"] = a.side->point.scenario;
  row["b"] = b.side->point.scenario;
  if (b.side->peer) {
    row["peer_b"] = b.side->peer->name();
  }
  row["options_a"] = a.side->point.options;
  row["options_b"] = b.side->point.options;
  row["runs_a"] = a.samples.size();
  row["runs_b"] = b.samples.size();
  row["alpha"] = alpha;
  row["smallest_p"] = smallest_p(a.samples.size(), b.samples.size());
  auto figures_json = Json::object();
  for (const auto& one : all) {
    figures_json[one.figure->name] = {{"a", json_of(one.a)},
                                      {"b", json_of(one.b)},
                                      {"ratio", one.ratio},
                                      {"p", one.p},
                                      {"different", one.p < alpha}};
  }
  row["figures"] = std::move(figures_json);
  GODWIT_TRY(results.write("comparison", row));
  if (!results.to_stdout()) {
    print(all, alpha);
    if (number_at(row, "/smallest_p") >= alpha) {
      fmt::print("So few runs cannot tell anything apart at alpha {}: take more --pairs.\n", alpha);
    }
  }
  return {};
}

}  // namespace godwit::lab
