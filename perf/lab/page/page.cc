#include "page/page.h"

#include <algorithm>
#include <ctime>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "ground/stats.h"
#include "page/html.h"
#include "page/plots.h"
#include "rows/run_groups.h"

namespace godwit::lab {
namespace {

/// Throughput plots of a scenario: each point has its own, and a sweep has many points.
constexpr std::size_t kThroughputPlotsMax = 6;

/// What the table of a scenario shows at once; the others are in the table below it.
struct MainFigure {
  const char* name;
  const char* head;
  bool always;  ///< else only where some run has it
};
constexpr MainFigure kMainFigures[] = {{"total_ns", "total", true},
                                       {"downtime_ns", "downtime", true},
                                       {"guest_gap_ns", "guest gap", true},
                                       {"largest_stall_ns", "largest stall", true},
                                       {"recovery_ns", "recovery", false},
                                       {"valley", "valley", false},
                                       {"fault_p99_ns", "fault p99", true},
                                       {"cpu_source_ns", "CPU source", true},
                                       {"cpu_target_ns", "CPU target", true},
                                       {"wire_bytes", "on the wire", true}};

std::string paragraph(const std::string& text, const char* style = nullptr) {
  return style == nullptr ? "<p>" + escape(text) + "</p>\n"
                          : fmt::format("<p class=\"{}\">{}</p>\n", style, escape(text));
}

std::string list_of(const std::vector<std::string>& items) {
  std::string text = "<ul>";
  for (const auto& item : items) {
    text += "<li>" + escape(item) + "</li>\n";
  }
  return text + "</ul>\n";
}

std::string date_of(double unix_s) {
  const auto seconds = static_cast<std::time_t>(unix_s);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", parts);
}

std::string command_of(const RunRow& run) {
  std::string text;
  for (const auto& word : run.command) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

std::string counted(std::size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

class Page {
 public:
  Page(const ResultRows& rows, const Draw& draw)
      : rows_(rows), draw_(draw), groups_(groups_of(rows.runs)) {}

  Result<std::string> body(const std::string& title) {
    std::string text = "<header>" + head(title) + "</header>\n<main>\n" + failures();
    GODWIT_TRY(add_overview(text));
    for (std::size_t i = 0; i < scenarios_.size(); ++i) {
      GODWIT_TRY(add_scenario(text, scenarios_[i], fmt::format("s{}", i + 1)));
    }
    return text + machines() + commands() + "</main>\n";
  }

 private:
  std::string head(const std::string& title) {
    std::set<std::string> commits;
    std::size_t verified = 0;
    double first = rows_.runs.front().at_unix_s;
    double last = first;
    for (const auto& run : rows_.runs) {
      commits.insert(run.commit.empty() ? "unknown" : run.commit);
      verified += run.verified ? 1 : 0;
      first = std::min(first, run.at_unix_s);
      last = std::max(last, run.at_unix_s);
      if (std::find(scenarios_.begin(), scenarios_.end(), run.scenario) == scenarios_.end()) {
        scenarios_.push_back(run.scenario);
      }
    }
    std::string text = "<h1>Live migration, measured</h1>\n" +
                       paragraph(fmt::format("godwit-lab, from {}.", title), "soft");
    text += paragraph(fmt::format("{} of {} verified: the guest has checked every page. {}{}.",
                                  verified,
                                  counted(rows_.runs.size(), "run"),
                                  date_of(first),
                                  date_of(last) == date_of(first) ? "" : " to " + date_of(last)));
    std::set<std::string> peers;
    for (const auto& run : rows_.runs) {
      if (run.peer.is_object()) {
        peers.insert(text_at(run.peer, "/name") + " " + text_at(run.peer, "/version"));
      }
    }
    for (const auto& peer : peers) {
      text += paragraph("Peer: " + peer + ".");
    }
    std::string names;
    for (const auto& commit : commits) {
      names += (names.empty() ? "" : ", ") + commit;
    }
    text += paragraph((commits.size() == 1 ? "Commit " : "Commits ") + names + ".");
    text += paragraph(
        "Figures are medians, with minimum and maximum below. Absolute times differ from machine "
        "to "
        "machine: compare what ran on one machine in turns.",
        "soft");
    text += "<nav aria-label=\"Sections\"><ul><li><a href=\"#overview\">Overview</a></li>";
    for (std::size_t i = 0; i < scenarios_.size(); ++i) {
      text += fmt::format("<li><a href=\"#s{}\">{}</a></li>", i + 1, escape(scenarios_[i]));
    }
    return text +
           "<li><a href=\"#machine\">Machine</a></li><li><a href=\"#commands\">Commands</a></li>"
           "</ul></nav>\n";
  }

  /// What went wrong comes first.
  std::string failures() const {
    std::vector<std::string> failed;
    for (const auto& group : groups_) {
      for (const auto* run : group.failed) {
        failed.push_back(fmt::format("{}, {}: {}",
                                     group.scenario,
                                     group.label(),
                                     run->reason.empty() ? "no reason given" : run->reason));
      }
    }
    std::vector<std::string> left_out;
    for (const auto& one : rows_.left_out) {
      const auto peer =
          one.peer.is_object() ? text_at(one.peer, "/name") + " " + text_at(one.peer, "/mode") : "";
      left_out.push_back(fmt::format("{}{}{}: {}",
                                     one.scenario,
                                     one.scenario.empty() || peer.empty() ? "" : ", ",
                                     peer,
                                     one.reason));
    }
    std::vector<std::string> missed;
    for (const auto& limit : rows_.limits) {
      if (!limit.met) {
        missed.push_back(limit.scenario + ": " + limit.text);
      }
    }
    std::string text;
    if (!failed.empty()) {
      text += "<section class=\"note\" id=\"failed\"><h3 class=\"bad\">" +
              counted(failed.size(), "run") + " failed and " + (failed.size() == 1 ? "is" : "are") +
              " in no figure below</h3>" + list_of(failed) + "</section>\n";
    }
    if (!missed.empty()) {
      text += "<section class=\"note\" id=\"missed\"><h3 class=\"bad\">" +
              counted(missed.size(), "limit") + " missed</h3>" + list_of(missed) + "</section>\n";
    }
    if (!left_out.empty()) {
      text += "<section class=\"note\" id=\"left-out\"><h3>Could not be measured there</h3>" +
              list_of(left_out) + "</section>\n";
    }
    return text;
  }

  Status add_chart(std::string& text, const std::optional<Chart>& chart) {
    if (!chart) {
      return {};
    }
    GODWIT_TRY_ASSIGN(const auto svg, draw_(script_of(*chart)));
    text += figure_of(*chart, svg_for_page(svg, chart->id));
    return {};
  }

  Status add_overview(std::string& text) {
    text += "<section id=\"overview\"><h2>Overview</h2>\n";
    const auto chart = downtime_chart(groups_, "downtime-total", palette_);
    if (!chart) {
      text += paragraph("No run was verified, so there is nothing to plot.", "bad");
    }
    std::string plots;
    GODWIT_TRY(add_chart(plots, chart));
    text += plots.empty() ? "" : "<div class=\"plots hero\">\n" + plots + "</div>\n";
    plots.clear();
    std::string without;
    for (const auto* option : {"memory", "rate"}) {
      auto colours = palette_;
      const auto charts =
          scaling_charts(groups_, option, std::string("scaling-") + option, colours);
      if (charts) {
        GODWIT_TRY(add_chart(plots, charts->total));
        GODWIT_TRY(add_chart(plots, charts->downtime));
      } else {
        without += fmt::format("{}{}",
                               without.empty() ? "" : " and ",
                               std::string(option) == "memory" ? "guest size" : "dirty rate");
      }
    }
    auto colours = palette_;
    GODWIT_TRY(add_chart(plots, round_trip_chart(groups_, "scaling-round-trip", colours)));
    text += plots.empty() ? "" : "<div class=\"plots\">\n" + plots + "</div>\n";
    if (!without.empty()) {
      text += paragraph("No plot of scaling with " + without + ": no runs differ in nothing else.",
                        "soft");
    }
    text += "</section>\n";
    return {};
  }

  Status add_scenario(std::string& text, const std::string& name, const std::string& id) {
    std::vector<RunGroup> groups;
    for (const auto& group : groups_) {
      if (group.scenario == name) {
        groups.push_back(group);
      }
    }
    text += fmt::format("<section id=\"{}\"><h2>{}</h2>\n", id, escape(name));
    text += main_table(name, groups) + limits_of(name) + warnings_of(groups);
    std::string plots;
    auto colours = palette_;
    if (scenarios_.size() > 1 && groups.size() > 1) {
      GODWIT_TRY(add_chart(plots, downtime_chart(groups, id + "-downtime", colours)));
    }
    GODWIT_TRY(add_chart(plots, fault_chart(groups, Faults::kEngine, id + "-faults", colours)));
    GODWIT_TRY(
        add_chart(plots, fault_chart(groups, Faults::kGuest, id + "-guest-faults", colours)));
    GODWIT_TRY(add_chart(plots, rounds_chart(groups, id + "-rounds", colours)));
    std::string left_out;
    GODWIT_TRY(add_throughput(plots, left_out, groups, id, colours));
    text += plots.empty() ? "" : "<div class=\"plots\">\n" + plots + "</div>\n";
    text += left_out + all_figures(name, groups) + "</section>\n";
    return {};
  }

  Status add_throughput(std::string& plots,
                        std::string& left_out,
                        const std::vector<RunGroup>& groups,
                        const std::string& id,
                        Palette& colours) {
    std::size_t drawn = 0;
    std::size_t more = 0;
    std::size_t without = 0;
    for (const auto& group : groups) {
      const auto chart =
          throughput_chart(group, fmt::format("{}-throughput{}", id, drawn + 1), colours);
      without += chart ? 0 : 1;
      if (chart && drawn == kThroughputPlotsMax) {
        ++more;
      } else if (chart) {
        ++drawn;
        GODWIT_TRY(add_chart(plots, chart));
      }
    }
    if (without == groups.size()) {
      left_out = paragraph("No plot of guest throughput: these results hold no timeline.", "soft");
    } else if (without + more > 0) {
      left_out = paragraph(fmt::format("Guest throughput: {} not shown, {} without a timeline.",
                                       counted(more, "further point"),
                                       counted(without, "point")),
                           "soft");
    }
    return {};
  }

  static Cell cell_of(const RunGroup& group, const std::string& name) {
    const auto values = values_of(group.samples(), name);
    const auto* figure = find_figure(name);
    if (values.empty() || figure == nullptr) {
      return {"–"};
    }
    const auto spread = spread_of(values);
    if (values.size() == 1) {
      return {figure_text(figure->unit, spread.median)};
    }
    return {figure_text(figure->unit, spread.median),
            figure_text(figure->unit, spread.min) + " .. " + figure_text(figure->unit, spread.max)};
  }

  static std::string main_table(const std::string& name, const std::vector<RunGroup>& groups) {
    HtmlTable table{"Medians of " + name, {"", "runs"}, {}};
    std::vector<const char*> shown;
    for (const auto& figure : kMainFigures) {
      const bool any = std::any_of(groups.begin(), groups.end(), [&](const RunGroup& group) {
        return !values_of(group.samples(), figure.name).empty();
      });
      if (figure.always || any) {
        shown.push_back(figure.name);
        table.head.emplace_back(figure.head);
      }
    }
    for (const auto& group : groups) {
      std::vector<Cell> row{{group.series, group.detail}};
      row.push_back({std::to_string(group.runs.size()),
                     group.failed.empty() ? "" : fmt::format("{} failed", group.failed.size())});
      for (const auto* figure : shown) {
        row.push_back(cell_of(group, figure));
      }
      table.rows.push_back(std::move(row));
    }
    return html_of(table);
  }

  static std::string all_figures(const std::string& name, const std::vector<RunGroup>& groups) {
    HtmlTable table{"All figures of " + name, {"figure"}, {}};
    for (const auto& group : groups) {
      table.head.push_back(group.label());
    }
    for (const auto& figure : figures()) {
      std::vector<Cell> row{{figure.name}};
      bool any = false;
      for (const auto& group : groups) {
        row.push_back(cell_of(group, figure.name));
        any = any || row.back().text != "–";
      }
      if (any) {
        table.rows.push_back(std::move(row));
      }
    }
    return "<details><summary>All figures</summary>" + html_of(table) + "</details>\n";
  }

  std::string limits_of(const std::string& name) const {
    std::string text;
    for (const auto& limit : rows_.limits) {
      if (limit.scenario == name) {
        text += paragraph((limit.met ? "Limit met: " : "Limit missed: ") + limit.text,
                          limit.met ? "good" : "bad");
      }
    }
    return text;
  }

  static std::string warnings_of(const std::vector<RunGroup>& groups) {
    std::vector<std::string> items;
    for (const auto& group : groups) {
      std::size_t runs = 0;
      std::string first;
      for (const auto* run : group.runs) {
        const auto found =
            run->report.is_object() ? run->report.find("warnings") : run->report.end();
        if (!run->report.is_object() || found == run->report.end() || !found->is_array() ||
            found->empty()) {
          continue;
        }
        ++runs;
        if (first.empty() && found->front().is_string()) {
          first = found->front().get<std::string>();
        }
      }
      if (runs > 0) {
        items.push_back(fmt::format(
            "{}: {} of {}: {}", group.label(), runs, counted(group.runs.size(), "run"), first));
      }
    }
    return items.empty() ? std::string()
                         : "<details><summary>Warnings of the engine</summary>" + list_of(items) +
                               "</details>\n";
  }

  std::string machines() const {
    std::vector<Json> hosts;
    for (const auto& run : rows_.runs) {
      if (const auto host = machine_of(run);
          std::find(hosts.begin(), hosts.end(), host) == hosts.end()) {
        hosts.push_back(host);
      }
    }
    std::string text = "<section id=\"machine\"><h2>Machine</h2>\n";
    if (hosts.size() > 1) {
      text += paragraph(fmt::format("These runs come from {} machines or settings: their times are "
                                    "not to be compared with one another.",
                                    hosts.size()),
                        "bad");
    }
    for (const auto& host : hosts) {
      HtmlTable table{"Machine", {"", ""}, {}};
      for (const auto& [name, value] : host.items()) {
        const auto plain = plain_text(value);
        table.rows.push_back({{name},
                              {value.is_null() ? "not told"
                               : name == "memory_bytes" && value.is_number()
                                   ? figure_text(Unit::kBytes, value.get<double>())
                                   : plain}});
      }
      text += html_of(table);
    }
    return text + "</section>\n";
  }

  std::string commands() const {
    std::string text =
        "<section id=\"commands\"><h2>Commands</h2>\n<p>One run of each point, as it was "
        "started.</p>\n";
    for (const auto& group : groups_) {
      text += fmt::format("<details><summary>{}, {}</summary><pre>{}</pre></details>\n",
                          escape(group.scenario),
                          escape(group.label()),
                          escape(command_of(group.any())));
    }
    return text + "</section>\n";
  }

  const ResultRows& rows_;
  const Draw& draw_;
  std::vector<RunGroup> groups_;
  std::vector<std::string> scenarios_;
  Palette palette_;
};

}  // namespace

Result<std::string> report_page(const std::string& title,
                                const ResultRows& rows,
                                const Draw& draw) {
  GODWIT_TRY_ASSIGN(const auto body, Page(rows, draw).body(title));
  return document_of("godwit-lab: " + title, body);
}

}  // namespace godwit::lab
