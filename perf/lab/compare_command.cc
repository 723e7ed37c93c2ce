#include <array>

#include <fmt/format.h>

#include "commands.h"
#include "figures.h"
#include "runner.h"
#include "stats.h"
#include "table.h"

namespace godwit::lab {
namespace {

Result<Side> side_of(const Library& library,
                     const std::string& name,
                     const std::vector<std::string>& changes,
                     const char* label,
                     const std::string& godwit) {
  GODWIT_TRY_ASSIGN(auto scenario, library.scenario(name));
  GODWIT_TRY(set_members(scenario, changes));
  auto points = scenario.points();
  if (points.size() != 1) {
    return fail(ErrorCode::kInvalidArgument,
                "compare",
                fmt::format("'{}' is a sweep; a side is one point", name));
  }
  return Side{label, std::move(points.front()), godwit};
}

/// One figure of both sides.
struct Difference {
  const Figure* figure;
  Spread a;
  Spread b;
  double ratio = 0;  ///< of medians, B over A
  double p = 1;
};

std::vector<Difference> differences(const Measured& measured) {
  std::vector<Difference> all;
  for (const auto& figure : figures()) {
    const auto a = values_of(measured.samples[0], figure.name);
    const auto b = values_of(measured.samples[1], figure.name);
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

Status report(const std::array<Side, 2>& sides,
              const Measured& measured,
              const CompareLine& line,
              Results& results) {
  const auto all = differences(measured);
  Json row;
  row["a"] = sides[0].point.scenario;
  row["b"] = sides[1].point.scenario;
  row["options_a"] = sides[0].point.options;
  row["options_b"] = sides[1].point.options;
  row["runs_a"] = measured.samples[0].size();
  row["runs_b"] = measured.samples[1].size();
  row["alpha"] = line.alpha;
  row["smallest_p"] = smallest_p(measured.samples[0].size(), measured.samples[1].size());
  auto figures_json = Json::object();
  for (const auto& one : all) {
    figures_json[one.figure->name] = {{"a", json_of(one.a)},
                                      {"b", json_of(one.b)},
                                      {"ratio", one.ratio},
                                      {"p", one.p},
                                      {"different", one.p < line.alpha}};
  }
  row["figures"] = std::move(figures_json);
  GODWIT_TRY(results.write("comparison", row));
  if (!results.to_stdout()) {
    print(all, line.alpha);
    if (number_at(row, "/smallest_p") >= line.alpha) {
      fmt::print("So few runs cannot tell anything apart at alpha {}: take more --pairs.\n",
                 line.alpha);
    }
  }
  return {};
}

Result<int> compare(const Common& common, const CompareLine& line) {
  const Library library(common.scenarios);
  const auto& second = line.godwit_b.empty() ? common.godwit : line.godwit_b;
  GODWIT_TRY_ASSIGN(auto a,
                    side_of(library, line.scenarios.front(), line.set_a, "a", common.godwit));
  GODWIT_TRY_ASSIGN(auto b, side_of(library, line.scenarios.back(), line.set_b, "b", second));
  const std::array<Side, 2> sides{std::move(a), std::move(b)};
  GODWIT_TRY_ASSIGN(auto results, Results::open(common.out, common.json));
  RunnerOptions options;
  options.rounds = line.pairs;
  options.interrupt_fd = common.interrupt_fd;
  options.set = "compare";
  GODWIT_TRY_ASSIGN(const auto measured, measure({sides[0], sides[1]}, options, results));
  GODWIT_TRY(report(sides, measured, line, results));
  if (measured.interrupted) {
    return kExitInterrupted;
  }
  return measured.failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

int compare_command(const Common& common, const CompareLine& line) {
  const auto code = compare(common, line);
  if (!code) {
    fmt::print(stderr, "godwit-lab: {}\n", code.error().message());
    return code.error().code == ErrorCode::kInvalidArgument ? kExitUsage : kExitEnvironment;
  }
  return *code;
}

}  // namespace godwit::lab
