#include "page/plots.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "godwit/base/units.h"

#include "ground/stats.h"
#include "page/plot_parts.h"

namespace godwit::lab {
std::optional<Chart> downtime_chart(std::span<const RunGroup> groups,
                                    const std::string& id,
                                    Palette& palette) {
  Chart chart{
      id,
      "Downtime against total time",
      {},
      "One mark a run, both axes logarithmic; down and left is better. Filled: the downtime "
      "that the engine reports. Hollow: the gap that the guest itself saw.",
      time_axis("total time"),
      time_axis("downtime, guest-seen gap")};
  // Hollow marks first: the reported ones lie on top.
  std::map<std::string, std::vector<double>> downtimes;
  std::map<std::string, std::vector<double>> totals;
  std::map<std::string, std::vector<double>> gaps;
  for (const auto mark : {Mark::kPairs, Mark::kHollowDots, Mark::kDots}) {
    for (const auto& group : groups) {
      for (const auto* run : group.runs) {
        const auto total = number_at(run->figures, "/total_ns");
        const auto downtime = number_at(run->figures, "/downtime_ns");
        const auto gap = number_at(run->figures, "/guest_gap_ns");
        if (total <= 0 || (downtime <= 0 && gap <= 0)) {
          continue;
        }
        const auto style = palette.style(group.series);
        if (mark == Mark::kPairs && downtime > 0 && gap > 0) {
          auto& dots = series_in(chart, group.series, style, mark).dots;
          dots.push_back({total, downtime});
          dots.push_back({total, gap});
        } else if (mark == Mark::kHollowDots && gap > 0) {
          auto& series = series_in(chart, group.series + ", seen by the guest", style, mark);
          series.dots.push_back({total, gap});
          series.in_legend = series.in_legend && downtime <= 0;
          gaps[group.series].push_back(gap);
        } else if (mark == Mark::kDots && downtime > 0) {
          series_in(chart, group.series, style, mark).dots.push_back({total, downtime});
          downtimes[group.series].push_back(downtime);
          totals[group.series].push_back(total);
        }
      }
    }
  }
  if (chart.series.empty()) {
    return std::nullopt;
  }
  std::vector<std::string> parts;
  for (const auto& [name, values] : downtimes) {
    parts.push_back(fmt::format(
        "{}: {} runs, median total {}, median downtime {}{}",
        name,
        values.size(),
        time_text(spread_of(totals[name]).median),
        time_text(spread_of(values).median),
        gaps[name].empty() ? ", guest gap not measured"
                           : ", median guest gap " + time_text(spread_of(gaps[name]).median)));
  }
  chart.alt = "Downtime against total time. " + joined(parts) + ".";
  return chart;
}

namespace {

struct Cdf {
  std::vector<Dot> dots;
  bool exact = false;  ///< from buckets
  double count = 0;
};

/// The share of faults up to a rank, so that the slowest of `count` does not lie at 1, which a
/// scale of nines cannot show.
double share_of(double rank, double count) {
  return (rank - 0.5) / count;
}

/// Sums the buckets of all runs; empty when a run that had faults has none.
std::map<double, double> buckets_of(const RunGroup& group, const std::string& member) {
  std::map<double, double> sum;
  for (const auto* run : group.runs) {
    if (number_at(run->report, ("/" + member + "/count").c_str()) <= 0) {
      continue;
    }
    const Json::json_pointer at("/" + member + "/buckets");
    if (!run->report.contains(at) || !run->report.at(at).is_array()) {
      return {};
    }
    for (const auto& bucket : run->report.at(at)) {
      if (!bucket.is_array() || bucket.size() != 2 || !bucket[0].is_number() ||
          !bucket[1].is_number()) {
        return {};
      }
      sum[bucket[0].get<double>()] += bucket[1].get<double>();
    }
  }
  return sum;
}

Cdf cdf_of(const RunGroup& group, const std::string& member) {
  Cdf cdf;
  const auto buckets = buckets_of(group, member);
  for (const auto& [bound, count] : buckets) {
    cdf.count += count;
  }
  if (cdf.count > 0) {
    cdf.exact = true;
    double rank = 0;
    for (const auto& [bound, count] : buckets) {
      rank += count;
      if (count > 0) {
        cdf.dots.push_back({bound, std::max(0.0, share_of(rank, cdf.count))});
      }
    }
    return cdf;
  }
  struct Quantile {
    const char* name;
    double share;
  };
  static constexpr Quantile kQuantiles[]{{"p50_ns", 0.5}, {"p99_ns", 0.99}, {"p999_ns", 0.999}};
  std::vector<double> longest;
  std::map<double, std::vector<double>> at;
  for (const auto* run : group.runs) {
    const auto figure = [&](const std::string& name) {
      return number_at(run->report, ("/" + member + "/" + name).c_str());
    };
    if (figure("count") <= 0) {
      continue;
    }
    cdf.count += figure("count");
    longest.push_back(figure("max_ns"));
    for (const auto& quantile : kQuantiles) {
      at[quantile.share].push_back(figure(quantile.name));
    }
  }
  if (longest.empty()) {
    return cdf;
  }
  const auto top = share_of(cdf.count, cdf.count);
  for (const auto& [share, values] : at) {
    if (share < top) {
      cdf.dots.push_back({spread_of(values).median, share});
    }
  }
  cdf.dots.push_back({spread_of(longest).max, top});
  return cdf;
}

}  // namespace

std::optional<Chart> fault_chart(std::span<const RunGroup> groups,
                                 Faults which,
                                 const std::string& id,
                                 Palette& palette) {
  const bool engine = which == Faults::kEngine;
  const std::string member = engine ? "faults" : "guest_faults";
  Chart chart{id,
              engine ? "Fault latency" : "Slow touches, as the guest sees them",
              {},
              engine ? "Share of the faults at the target that were served within a time, from "
                       "reading the fault to waking who waits."
                     : "Share of the guest's touches over 5 us that took no longer than a time.",
              time_axis("latency"),
              {engine ? "share of faults" : "share of slow touches", Unit::kShare, Scale::kNines}};
  bool exact = true;
  std::vector<std::string> parts;
  for (const auto& group : groups) {
    auto cdf = cdf_of(group, member);
    if (cdf.dots.empty()) {
      continue;
    }
    exact = exact && cdf.exact;
    parts.push_back(fmt::format("{}: {:.0f} in {} runs, slowest {}",
                                group.label(),
                                cdf.count,
                                group.runs.size(),
                                time_text(cdf.dots.back().x)));
    // From the foot of the axis upwards.
    cdf.dots.insert(cdf.dots.begin(), {cdf.dots.front().x, 0});
    series_in(chart, group.label(), palette.style(group.label()), Mark::kSteps).dots =
        std::move(cdf.dots);
  }
  if (chart.series.empty()) {
    return std::nullopt;
  }
  if (!exact) {
    chart.caption +=
        " Approximate: where results hold no histogram, steps join the medians of each run's p50, "
        "p99 and p99.9, and the slowest of all.";
  }
  chart.alt = chart.title + ", cumulative. " + joined(parts) + ".";
  return chart;
}

namespace {

struct Timeline {
  double interval_ns = 0;
  double start_ns = 0;
  std::vector<double> touches;
  /// Of an idle guest the report counts steps, of all others pages touched.
  bool idle = false;

  /// Bytes or steps a second.
  [[nodiscard]] double rate(std::size_t i) const {
    return touches[i] * (idle ? 1.0 : static_cast<double>(kPageBytes)) * 1e9 / interval_ns;
  }
};

std::optional<Timeline> timeline_of(const RunRow& run) {
  static const Json::json_pointer kTouches("/timeline/touches");
  Timeline timeline{number_at(run.report, "/timeline/interval_ns"),
                    number_at(run.report, "/timeline/start_ns"),
                    {},
                    text_at(run.report, "/guest/workload") == "idle"};
  if (timeline.interval_ns <= 0 || !run.report.contains(kTouches) ||
      !run.report.at(kTouches).is_array()) {
    return std::nullopt;
  }
  for (const auto& value : run.report.at(kTouches)) {
    timeline.touches.push_back(value.is_number() ? value.get<double>() : 0);
  }
  return timeline.touches.empty() ? std::nullopt : std::optional(timeline);
}

/// Where phases end; 0 without any.
struct PhaseEnds {
  double blackout = 0;
  double last = 0;
};

/// Shades the phases that the report names, and what lies before the first as the setup.
PhaseEnds add_phases(Chart& chart, const RunRow& run) {
  struct Phase {
    const char* name;
    const char* shown;
  };
  static constexpr Phase kPhases[]{
      {"precopy", "pre-copy"}, {"blackout", "downtime"}, {"postcopy", "post-copy"}};
  PhaseEnds ends;
  const auto found = run.report.find("phases");
  if (found == run.report.end() || !found->is_array()) {
    return ends;
  }
  for (const auto& phase : *found) {
    const auto name = text_at(phase, "/name");
    const auto from = number_at(phase, "/start_ns");
    const auto to = number_at(phase, "/end_ns");
    for (std::size_t i = 0; i < std::size(kPhases); ++i) {
      if (name != kPhases[i].name || from >= to) {
        continue;
      }
      if (chart.bands.empty() && from > 0) {
        chart.bands.push_back({"setup", 0, 0, from});
      }
      chart.bands.push_back({kPhases[i].shown, i + 1, from, to});
      ends.last = std::max(ends.last, to);
      ends.blackout = name == "blackout" ? to : ends.blackout;
    }
  }
  return ends;
}

/// "; lowest interval 12 % of before, back to 90 % 130 ms after the blackout"
std::string recovery_text(const RunRow& run) {
  const auto has = [&](const char* name) {
    return run.figures.is_object() && run.figures.contains(name);
  };
  std::string text;
  if (has("valley")) {
    text += fmt::format("; lowest interval {:.0f} % of before",
                        number_at(run.figures, "/valley") * 100);
  }
  if (has("recovery_ns")) {
    text += fmt::format("; at 90 % again {} after the blackout",
                        time_text(number_at(run.figures, "/recovery_ns")));
  }
  return text;
}

}  // namespace

std::optional<Chart> throughput_chart(const RunGroup& group,
                                      const std::string& id,
                                      Palette& palette) {
  if (group.runs.empty()) {
    return std::nullopt;
  }
  const auto& run = group.typical();
  const auto timeline = timeline_of(run);
  if (!timeline) {
    return std::nullopt;
  }
  Chart chart{
      id,
      "Guest throughput: " + group.label(),
      {},
      fmt::format("{}, a value each {}, in the run with the median total; 0 = the source "
                  "connects. Phases are shaded.",
                  timeline->idle ? "Steps of the idle guest" : "Bytes that the guest touched",
                  time_text(timeline->interval_ns)),
      {"time", Unit::kNs},
      {timeline->idle ? "steps a second" : "touched",
       timeline->idle ? Unit::kCount : Unit::kBytesPerS}};
  const auto total = number_at(run.figures, "/total_ns");
  const auto ends = add_phases(chart, run);
  const auto end = std::max(total, ends.last);
  // As much before and after as shows what is usual, and the recovery; not more: the migration is
  // to be seen.
  const auto margin = std::max(end * 0.3, 10 * timeline->interval_ns);
  const auto recovered = ends.blackout + number_at(run.figures, "/recovery_ns");
  const auto last = std::max(end, recovered) + margin;
  auto& series = series_in(chart, "guest", palette.style(group.series), Mark::kSteps);
  double least = -1;
  double most = 0;
  for (std::size_t i = 0; i < timeline->touches.size(); ++i) {
    const auto at = timeline->start_ns + static_cast<double>(i) * timeline->interval_ns;
    if (at >= -margin && at <= last) {
      const auto rate = timeline->rate(i);
      series.dots.push_back({at, rate});
      least = least < 0 ? rate : std::min(least, rate);
      most = std::max(most, rate);
    }
  }
  if (series.dots.size() < 2) {
    return std::nullopt;
  }
  chart.y.min = 0;
  chart.y.max = most > 0 ? most * 1.08 : 1;
  chart.x.min = std::min(0.0, series.dots.front().x);
  chart.x.max = std::max(end, series.dots.back().x + timeline->interval_ns);
  const auto text = [&](double rate) {
    return figure_text(chart.y.unit, rate) + (timeline->idle ? " steps a second" : "");
  };
  chart.alt = fmt::format(
      "Guest throughput over time of {}: between {} and {}; the migration took {}, of it downtime "
      "{}{}.",
      group.label(),
      text(least),
      text(most),
      time_text(total),
      time_text(number_at(run.figures, "/downtime_ns")),
      recovery_text(run));
  return chart;
}

std::optional<Chart> rounds_chart(std::span<const RunGroup> groups,
                                  const std::string& id,
                                  Palette& palette) {
  Chart chart{
      id,
      "Pre-copy rounds",
      {},
      "Pages that each round sent (filled) and that were written meanwhile (hollow), in the "
      "run with the median total. Logarithmic; 0 lies at the foot.",
      {"round", Unit::kCount},
      {"pages", Unit::kCount, Scale::kLog}};
  constexpr double kFoot = 0.5;
  double least = 1;
  double most = 1;
  std::size_t longest = 1;
  std::vector<std::string> parts;
  for (const auto& group : groups) {
    if (group.runs.empty()) {
      continue;
    }
    const auto& report = group.typical().report;
    const auto rounds = report.is_object() ? report.find("rounds") : report.end();
    if (!report.is_object() || rounds == report.end() || !rounds->is_array() || rounds->empty()) {
      continue;
    }
    const auto style = palette.style(group.label());
    Series sent{group.label(), style, Mark::kLines};
    Series dirtied{group.label() + ", written meanwhile", style, Mark::kDashedLines, {}, false};
    for (const auto& round : *rounds) {
      const auto x = static_cast<double>(sent.dots.size() + 1);
      sent.dots.push_back({x, std::max(kFoot, number_at(round, "/pages"))});
      dirtied.dots.push_back({x, std::max(kFoot, number_at(round, "/dirtied_pages"))});
      least = std::min({least, sent.dots.back().y, dirtied.dots.back().y});
      most = std::max({most, sent.dots.back().y, dirtied.dots.back().y});
    }
    longest = std::max(longest, sent.dots.size());
    parts.push_back(fmt::format("{}: {} rounds, {:.0f} pages sent in the first, {:.0f} in the last",
                                group.label(),
                                rounds->size(),
                                number_at(rounds->front(), "/pages"),
                                number_at(rounds->back(), "/pages")));
    chart.series.push_back(std::move(dirtied));
    chart.series.push_back(std::move(sent));
  }
  if (chart.series.empty()) {
    return std::nullopt;
  }
  chart.x.min = 0.7;
  chart.x.max = static_cast<double>(longest) + 0.3;
  if (least == kFoot) {
    chart.y.tics.emplace_back(kFoot, "0");
    for (double decade = 10; decade <= most * 1.2; decade *= 10) {
      chart.y.tics.emplace_back(decade, tic_text(chart.y, decade));
    }
  }
  chart.alt = "Pages sent and written again in each pre-copy round. " + joined(parts) + ".";
  return chart;
}

}  // namespace godwit::lab
