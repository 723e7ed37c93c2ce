#include "judge/compare_files.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include <fmt/format.h>

#include "rows/run_groups.h"
#include "rows/sample.h"

namespace godwit::lab {
namespace {

struct PointRuns {
  const RunRow* example = nullptr;
  std::vector<Sample> samples;
  std::size_t failed = 0;
};

/// Runs by point, in the order of their first rows. Unlike the groups of a report these do not keep
/// commits apart: a file is one side.
struct Points {
  std::map<std::string, PointRuns> by_key;
  std::vector<std::string> order;
};

Points points_of(const ResultRows& rows) {
  Points points;
  for (const auto& run : rows.runs) {
    const auto key = point_key(run);
    auto& point = points.by_key[key];
    if (point.example == nullptr) {
      points.order.push_back(key);
      point.example = &run;
    }
    if (run.verified) {
      point.samples.push_back(run.figures);
    } else {
      ++point.failed;
    }
  }
  return points;
}

std::string name_of(const RunRow& run) {
  const auto detail = detail_of(run);
  return fmt::format("{}, {}{}{}{}",
                     run.scenario,
                     run.side == "a" || run.side == "b" ? run.side + ": " : "",
                     series_of(run),
                     detail.empty() ? "" : ", ",
                     detail);
}

PointChange change_of(const PointRuns& a, const PointRuns& b, double alpha) {
  return {name_of(*b.example),
          b.example,
          a.samples.size(),
          b.samples.size(),
          a.failed,
          b.failed,
          differences(a.samples, b.samples, alpha)};
}

std::set<std::string> machines_of(const ResultRows& rows) {
  std::set<std::string> machines;
  for (const auto& run : rows.runs) {
    machines.insert(json_text(machine_of(run)));
  }
  return machines;
}

}  // namespace

bool is_watched(std::string_view figure) {
  static constexpr std::array<std::string_view, 5> kWatched{
      "total_ns", "downtime_ns", "guest_gap_ns", "cpu_source_ns", "cpu_target_ns"};
  return std::find(kWatched.begin(), kWatched.end(), figure) != kWatched.end();
}

bool is_worse(const Difference& one) {
  return one.different && is_watched(one.figure->name) && one.b.median > one.a.median;
}

bool PointChange::fails_more() const {
  return failed_b * (runs_a + failed_a) > failed_a * (runs_b + failed_b);
}

bool PointChange::worse() const {
  return fails_more() || std::any_of(figures.begin(), figures.end(), is_worse);
}

FileChange compare_rows(const ResultRows& a, const ResultRows& b, double alpha) {
  const auto before = points_of(a);
  const auto after = points_of(b);
  FileChange change;
  for (const auto& key : before.order) {
    const auto& point = before.by_key.at(key);
    const auto other = after.by_key.find(key);
    if (other == after.by_key.end()) {
      change.only_a.push_back(name_of(*point.example));
    } else {
      change.points.push_back(change_of(point, other->second, alpha));
    }
  }
  for (const auto& key : after.order) {
    if (before.by_key.count(key) == 0) {
      change.only_b.push_back(name_of(*after.by_key.at(key).example));
    }
  }
  change.other_machine = machines_of(a) != machines_of(b);
  return change;
}

}  // namespace godwit::lab
