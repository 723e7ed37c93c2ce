#include "judge/compare_files.h"

#include <fmt/format.h>

#include "commands/commands.h"
#include "ground/stats.h"
#include "ground/table.h"
#include "rows/results.h"

namespace godwit::lab {
namespace {

Json row_of(const PointChange& point, const CompareLine& line) {
  Json row;
  row["a"] = line.files[0];
  row["b"] = line.files[1];
  row["scenario"] = point.example->scenario;
  row["side"] = point.example->side;
  row["swept"] = point.example->swept;
  row["peer"] = point.example->peer;
  row["link"] = point.example->link;
  row["runs_a"] = point.runs_a;
  row["runs_b"] = point.runs_b;
  row["failed_a"] = point.failed_a;
  row["failed_b"] = point.failed_b;
  row["alpha"] = line.alpha;
  row["smallest_p"] = smallest_p(point.runs_a, point.runs_b);
  auto figures_json = Json::object();
  for (const auto& one : point.figures) {
    auto figure = difference_json(one);
    figure["watched"] = is_watched(one.figure->name);
    figure["worse"] = is_worse(one);
    figures_json[one.figure->name] = std::move(figure);
  }
  row["figures"] = std::move(figures_json);
  row["worse"] = point.worse();
  return row;
}

std::string verdict_of(const Difference& one) {
  if (is_worse(one)) {
    return "WORSE";
  }
  if (!one.different) {
    return "-";
  }
  return is_watched(one.figure->name) ? "better" : "different";
}

/// The watched figures, and the others that differ.
void print(const PointChange& point, double alpha) {
  fmt::print("\n{}: {} and {} runs\n", point.name, point.runs_a, point.runs_b);
  if (point.failed_a + point.failed_b > 0) {
    fmt::print("not verified: {} of A, {} of B{}\n",
               point.failed_a,
               point.failed_b,
               point.fails_more() ? ": WORSE" : "");
  }
  std::vector<std::vector<std::string>> rows{difference_head()};
  for (const auto& one : point.figures) {
    if (is_watched(one.figure->name) || one.different) {
      rows.push_back(difference_cells(one, verdict_of(one)));
    }
  }
  fmt::print("{}", table(rows));
  if (smallest_p(point.runs_a, point.runs_b) >= alpha) {
    fmt::print("So few runs cannot tell anything apart at alpha {}: take more --runs.\n", alpha);
  }
}

void print_end(const FileChange& change, const CompareLine& line) {
  std::size_t watched = 0;
  std::size_t worse = 0;
  for (const auto& point : change.points) {
    worse += point.worse() ? 1 : 0;
    for (const auto& one : point.figures) {
      watched += is_watched(one.figure->name) ? 1 : 0;
    }
  }
  for (const auto& name : change.only_a) {
    fmt::print("\nonly in {}: {}", line.files[0], name);
  }
  for (const auto& name : change.only_b) {
    fmt::print("\nonly in {}: {}", line.files[1], name);
  }
  // Half of all false alarms are in the good direction.
  fmt::print(
      "\n{} of {} points got worse. Watched: total, downtime, guest gap, CPU; {} comparisons at "
      "alpha {}: {:.1f} false alarms are to be expected.\n",
      worse,
      change.points.size(),
      watched,
      line.alpha,
      static_cast<double>(watched) * line.alpha / 2);
}

}  // namespace

Result<int> compare_files(const Common& common, const CompareLine& line) {
  ResultRows a;
  ResultRows b;
  GODWIT_TRY(read_result_file(line.files[0], a));
  GODWIT_TRY(read_result_file(line.files[1], b));
  const auto change = compare_rows(a, b, line.alpha);
  if (change.points.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "compare",
                fmt::format("{} and {} have no point in common", line.files[0], line.files[1]));
  }
  if (change.other_machine) {
    fmt::print(stderr,
               "warning: the files come from different machines or settings: believe no time\n");
  }
  GODWIT_TRY_ASSIGN(auto results, Results::open(common.out, common.json));
  bool worse = false;
  for (const auto& point : change.points) {
    worse = worse || point.worse();
    GODWIT_TRY(results.write("file-comparison", row_of(point, line)));
    if (!results.to_stdout()) {
      print(point, line.alpha);
    }
  }
  if (!results.to_stdout()) {
    print_end(change, line);
  }
  return worse ? kExitFailed : kExitOk;
}

}  // namespace godwit::lab
