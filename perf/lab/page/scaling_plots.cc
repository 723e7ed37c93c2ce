#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include <fmt/format.h>

#include "ground/stats.h"
#include "page/plot_parts.h"
#include "page/plots.h"

namespace godwit::lab {
namespace {

/// One line of a scaling plot: groups that differ in nothing but what it scales with.
struct Line {
  std::string series;
  std::string detail;  ///< in what else than the series this line is its own
  std::map<double, const RunGroup*> points;
};

/// What a plot scales with: takes it out of what a run was made with, so that runs that differ in
/// nothing else become alike. Nothing for a run that has it not.
using TakeOut =
    std::function<std::optional<double>(std::map<std::string, std::string>& options, Json& link)>;

TakeOut option_taken(const std::string& option) {
  return [option](std::map<std::string, std::string>& options, Json&) -> std::optional<double> {
    const auto value = options.find(option);
    const auto x = value != options.end() ? bytes_of(value->second) : std::nullopt;
    if (x) {
      options.erase(value);
    }
    return x;
  };
}

/// In ns.
std::optional<double> take_round_trip(std::map<std::string, std::string>& options, Json& link) {
  // A link without an emulator has a delay that is not known.
  if (!link.is_object() || !link.value("emulated", false) || !link.contains("delay_us")) {
    return std::nullopt;
  }
  const auto delay = number_at(link, "/delay_us") * 1e3;
  link.erase("delay_us");
  // Where none is said it follows the delay; see lines_of() for two scenarios that say different
  // ones.
  link.erase("buffer_bytes");
  options.erase("link.delay_us");  // where it was swept
  return delay;
}

std::vector<Line> lines_of(std::span<const RunGroup> groups,
                           const std::string& name,
                           const TakeOut& take_out,
                           bool across_scenarios = true) {
  std::map<std::string, Line> lines;
  std::vector<std::string> order;
  for (const auto& group : groups) {
    auto options = options_of(group.any());
    auto link = group.any().link;
    const auto x = take_out(options, link);
    if (group.runs.empty() || !x) {
      continue;
    }
    options.erase("timeline");  // which only looks on
    // The same options are the same measurement, whatever the scenario is called; of a peer only
    // what was swept is known.
    const bool peer = group.any().peer.is_object();
    auto key = group.series + json_text(Json(options)) + json_text(link);
    auto detail = group.scenario;
    for (const auto& [member, swept] : group.any().swept.items()) {
      if (member != name && member != "mode") {
        detail += fmt::format(
            ", {}={}", member, swept.is_string() ? swept.get<std::string>() : json_text(swept));
      }
    }
    key += peer || !across_scenarios ? group.scenario : std::string();
    if (lines.try_emplace(key, Line{group.series, detail, {}}).second) {
      order.push_back(key);
    }
    auto& line = lines[key];
    if (line.detail.compare(0, group.scenario.size(), group.scenario) != 0 &&
        line.detail.find(" and " + group.scenario) == std::string::npos) {
      line.detail += " and " + group.scenario;
    }
    line.points.try_emplace(*x, &group);
  }
  std::vector<Line> found;
  for (const auto& key : order) {
    if (lines[key].points.size() > 1) {
      found.push_back(std::move(lines[key]));
    }
  }
  return found;
}

/// One series a line, its dots in the order of x. The colour of a godwit series is for its first
/// line.
class LineStyles {
 public:
  explicit LineStyles(Palette& palette) : palette_(palette) {}

  std::size_t style(const Line& line) {
    return palette_.style(seen_.insert(line.series).second ? line.series : name_of(line));
  }
  static std::string name_of(const Line& line) { return line.series + ", " + line.detail; }

 private:
  Palette& palette_;
  std::set<std::string> seen_;
};

std::string from_to(const std::string& name, const Series& series, const Axis& axis) {
  return fmt::format("{}: from {} at {} to {} at {}",
                     name,
                     time_text(series.dots.front().y),
                     tic_text(axis, series.dots.front().x),
                     time_text(series.dots.back().y),
                     tic_text(axis, series.dots.back().x));
}

/// The x axis of an option: its values are marked as they were given, as far as there is room.
Axis option_axis(const std::vector<Line>& lines, const std::string& option, double full_speed) {
  Axis axis{option == "memory" ? "guest memory" : "dirty rate (bytes written a second)",
            option == "memory" ? Unit::kBytes : Unit::kBytesPerS,
            Scale::kLog};
  std::set<double> values;
  for (const auto& line : lines) {
    for (const auto& [x, group] : line.points) {
      values.insert(x > 0 ? x : full_speed);
    }
  }
  double last = 0;
  for (const auto x : values) {
    // Closer than this, texts would run into one another.
    if (last == 0 || x / last >= std::pow(*values.rbegin() / *values.begin(), 0.12)) {
      axis.tics.emplace_back(x, x == full_speed ? "full speed" : tic_text(axis, x));
      last = x;
    }
  }
  return axis;
}

}  // namespace

std::optional<ScalingCharts> scaling_charts(std::span<const RunGroup> groups,
                                            const std::string& option,
                                            const std::string& id,
                                            Palette& palette) {
  const auto lines = lines_of(groups, option, option_taken(option));
  if (lines.empty()) {
    return std::nullopt;
  }
  // A rate of 0 is no rate: the guest writes as fast as it can. It has a place of its own, right of
  // all others.
  double full_speed = 0;
  if (option == "rate") {
    for (const auto& line : lines) {
      full_speed = std::max(full_speed, line.points.rbegin()->first * 4);
    }
  }
  const std::string what = option == "memory" ? "guest memory" : "dirty rate";
  const auto axis = option_axis(lines, option, full_speed);
  const auto common =
      "Medians of runs that differ in the " + what + " alone, both axes logarithmic.";
  ScalingCharts charts{
      {id + "-total", "Total time over " + what, {}, common, axis, time_axis("total time"), {}},
      {id + "-downtime",
       "Downtime over " + what,
       {},
       common + " Filled: the downtime reported. Hollow: the gap that the guest saw.",
       axis,
       time_axis("downtime, guest-seen gap"),
       {}}};
  LineStyles styles(palette);
  std::vector<std::string> totals;
  std::vector<std::string> downtimes;
  for (const auto& line : lines) {
    const auto name = LineStyles::name_of(line);
    const auto style = styles.style(line);
    Series total{name, style, Mark::kLines};
    Series downtime{name, style, Mark::kLines};
    Series gap{name + ", seen by the guest", style, Mark::kDashedLines, {}, false};
    for (const auto& [x, group] : line.points) {
      const auto at = x > 0 ? x : full_speed;
      total.dots.push_back({at, median(*group, "total_ns")});
      downtime.dots.push_back({at, median(*group, "downtime_ns")});
      gap.dots.push_back({at, median(*group, "guest_gap_ns")});
    }
    for (auto* series : {&total, &downtime, &gap}) {
      std::sort(series->dots.begin(), series->dots.end(), [](const Dot& a, const Dot& b) {
        return a.x < b.x;
      });
    }
    totals.push_back(from_to(name, total, axis));
    downtimes.push_back(from_to(name, downtime, axis));
    charts.total.series.push_back(std::move(total));
    charts.downtime.series.push_back(std::move(gap));
    charts.downtime.series.push_back(std::move(downtime));
  }
  charts.total.alt = charts.total.title + ". " + joined(totals) + ".";
  charts.downtime.alt = charts.downtime.title + ". " + joined(downtimes) + ".";
  return charts;
}

std::optional<Chart> round_trip_chart(std::span<const RunGroup> groups,
                                      const std::string& id,
                                      Palette& palette) {
  const std::string figure = "fault_p50_ns";
  Chart chart{id,
              "Fault latency over the link's round trip",
              {},
              "Median of each run's median demand fault, of runs that differ in the link's delay "
              "alone. Hollow: the first point plus the growth of the round trip, which is what "
              "a fault that costs one round trip takes.",
              {"round trip of the link", Unit::kNs},
              {"fault latency, p50", Unit::kNs}};
  LineStyles styles(palette);
  std::vector<std::string> parts;
  for (auto line : lines_of(groups, "link.delay_us", take_round_trip, false)) {
    std::erase_if(line.points,
                  [&](const auto& point) { return median(*point.second, figure) <= 0; });
    if (line.points.size() < 2) {
      continue;
    }
    const auto name = LineStyles::name_of(line);
    const auto style = styles.style(line);
    Series latency{name, style, Mark::kLines};
    Series one_more{name + ", one round trip a fault", style, Mark::kDashedLines, {}, false};
    for (const auto& [x, group] : line.points) {
      latency.dots.push_back({x, median(*group, figure)});
      one_more.dots.push_back({x, latency.dots.front().y + x - latency.dots.front().x});
    }
    const auto& first = latency.dots.front();
    const auto& last = latency.dots.back();
    parts.push_back(fmt::format("{}; {:.2f} of the round trip's growth",
                                from_to(name, latency, chart.x),
                                (last.y - first.y) / (last.x - first.x)));
    chart.series.push_back(std::move(one_more));
    chart.series.push_back(std::move(latency));
  }
  if (chart.series.empty()) {
    return std::nullopt;
  }
  chart.y.min = 0;
  chart.alt = chart.title + ". " + joined(parts) + ".";
  return chart;
}

}  // namespace godwit::lab
