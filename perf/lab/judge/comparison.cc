#include "judge/comparison.h"

#include <fmt/format.h>

#include "ground/stats.h"
#include "ground/table.h"
#include "judge/difference.h"

namespace godwit::lab {
namespace {

void print(const std::vector<Difference>& all) {
  std::vector<std::vector<std::string>> rows{difference_head()};
  for (const auto& one : all) {
    rows.push_back(difference_cells(one, one.different ? "different" : "-"));
  }
  fmt::print("{}", table(rows));
}

}  // namespace

Status write_comparison(const ComparedSide& a,
                        const ComparedSide& b,
                        double alpha,
                        Results& results) {
  const auto all = differences(a.samples, b.samples, alpha);
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
    figures_json[one.figure->name] = difference_json(one);
  }
  row["figures"] = std::move(figures_json);
  GODWIT_TRY(results.write("comparison", row));
  if (!results.to_stdout()) {
    print(all);
    if (number_at(row, "/smallest_p") >= alpha) {
      fmt::print("So few runs cannot tell anything apart at alpha {}: take more --pairs.\n", alpha);
    }
  }
  return {};
}

}  // namespace godwit::lab
