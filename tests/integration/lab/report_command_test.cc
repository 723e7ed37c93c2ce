#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/require.h"
#include "support/temporary_directory.h"

// The page of the lab as a reader meets it: made from runs of this machine, opened from disk by a
// browser of a phone's width.

namespace godwit::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class Report : public testing::Test {
 protected:
  [[nodiscard]] std::string at(const std::string& name) const { return directory_.at(name); }

  /// Measures two modes and two sizes, and a run that fails.
  void measure() {
    directory_.write("sweep.json",
                     R"({"name": "sweep", "description": "sizes and modes", "runs": 1,
                         "options": {"memory": ["32MiB", "64MiB"], "mode": ["hybrid", "postcopy"],
                                     "workload": "random-write", "working_set": "8MiB",
                                     "rate": "64MiB", "timeline": true}})");
    directory_.write("damaged.json",
                     R"({"name": "damaged", "description": "a page is dropped", "runs": 1,
                         "options": {"memory": "32MiB", "inject": "drop-page"}})");
    const auto lab = "run --scenarios " + directory_.path();
    const auto good = run_lab(fmt::format("{} sweep --out {}", lab, at("sweep.jsonl")));
    ASSERT_EQ(good.code, 0) << good.all();
    const auto bad = run_lab(fmt::format("{} damaged --out {}", lab, at("damaged.jsonl")));
    ASSERT_EQ(bad.code, 1) << bad.all();
  }

  /// Rows that this machine may not give: a peer's, guest throughput, markup where there is text.
  void add_rows() {
    std::ifstream in(at("sweep.jsonl"));
    std::ofstream out(at("more.jsonl"));
    for (std::string line; std::getline(in, line);) {
      auto row = parse_json(line);
      if (row["kind"] != "run") {
        continue;
      }
      auto touches = Json::array();
      for (int i = 0; i < 200; ++i) {
        touches.push_back(1000 + i);
      }
      row["report"]["timeline"] = {
          {"interval_ns", 10'000'000}, {"start_ns", -100'000'000}, {"touches", touches}};
      row["scenario"] = "<b>more</b> & " + std::string(120, 'x');
      out << json_text(row) << "\n";
      row["peer"] = {{"name", "qemu"}, {"version", "7.2"}, {"mode", "postcopy"}};
      row["report"] = nullptr;
      out << json_text(row) << "\n";
      row["verified"] = false;
      row["reason"] = "<script>console.error('markup')</script>";
      out << json_text(row) << "\n";
    }
  }

  TemporaryDirectory directory_;
};

/// Opens report.html beside it in a frame as wide as a phone and prints what there is to see.
constexpr const char* kProbe = R"html(<!doctype html><body style="margin:0">
<iframe id="frame" src="report.html" style="width:390px;height:844px;border:0"></iframe>
<pre id="seen"></pre>
<script>
console.error('probe-control');
window.onload = () => {
  const page = document.getElementById('frame').contentDocument;
  const ids = [...page.querySelectorAll('[id]')].map(e => e.id);
  const plots = [...page.querySelectorAll('.plot')].map(plot => {
    const svg = plot.querySelector('[role=img] svg');
    const box = svg.getBoundingClientRect();
    const marks = [...svg.querySelectorAll('[id*=gnuplot_plot] path, [id*=gnuplot_plot] use')]
      .filter(mark => { const b = mark.getBoundingClientRect();
                        return b.width + b.height > 1 && b.left >= box.left && b.right <= box.right; });
    return {id: plot.id, width: box.width, height: box.height, marks: marks.length,
            texts: svg.querySelectorAll('text').length,
            alt: plot.querySelector('[role=img]').getAttribute('aria-label').length,
            values: plot.querySelectorAll('details tbody tr').length};
  });
  document.getElementById('seen').textContent = 'SEEN' + JSON.stringify({
    width: page.documentElement.clientWidth, needed: page.documentElement.scrollWidth,
    tables: [...page.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length,
    scripts: page.scripts.length, repeated: ids.filter((id, i) => ids.indexOf(id) != i),
    bold: page.querySelectorAll('b').length, text: page.body.textContent.length, plots}) + 'NEES';
};
</script></body>)html";

Json seen_by(const std::string& dumped) {
  const auto start = dumped.rfind("SEEN{");
  const auto end = dumped.rfind("}NEES");
  if (start == std::string::npos || end == std::string::npos || end < start) {
    return nullptr;
  }
  return parse_json(dumped.substr(start + 4, end + 1 - (start + 4)));
}

TEST_F(Report, IsReadableInABrowserOfAPhone) {
  GODWIT_NEED_PROGRAM("gnuplot", "gnuplot-nox");
  ASSERT_NO_FATAL_FAILURE(measure());
  add_rows();
  const auto made = run_lab(fmt::format("report {} {} {} --out {}",
                                        at("sweep.jsonl"),
                                        at("damaged.jsonl"),
                                        at("more.jsonl"),
                                        at("report.html")));
  ASSERT_EQ(made.code, 0) << made.all();
  const auto page = file_text(at("report.html"));
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("5 runs failed"), std::string::npos);
  EXPECT_NE(page.find(">valley</th>"), std::string::npos);
  GODWIT_NEED_PROGRAM("chromium", "chromium");

  directory_.write("probe.html", kProbe);
  // A sandbox of the browser's own is not to be had for root; the page is ours.
  const auto browsed = run_shell(
      fmt::format("timeout 100 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars "
                  "--user-data-dir={} --allow-file-access-from-files --enable-logging=stderr "
                  "--dump-dom file://{}",
                  at("profile"),
                  at("probe.html")));
  const auto seen = seen_by(browsed.out);
  ASSERT_TRUE(seen.is_object()) << browsed.all();
  // What the browser complains of goes to its log: the probe's own complaint, and no other.
  std::vector<std::string> complaints;
  std::istringstream lines(browsed.err);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("CONSOLE") != std::string::npos) {
      complaints.push_back(line);
    }
  }
  ASSERT_EQ(complaints.size(), 1U) << browsed.all();
  EXPECT_NE(complaints[0].find("probe-control"), std::string::npos) << complaints[0];

  EXPECT_EQ(seen["scripts"], 0);
  EXPECT_EQ(seen["bold"], 0) << "markup of a row became markup of the page";
  EXPECT_TRUE(seen["repeated"].empty()) << seen["repeated"];
  EXPECT_EQ(seen["width"], 390);
  EXPECT_LE(seen["needed"], 390) << "the page has to be moved sideways";
  EXPECT_GT(seen["tables"], 0) << "tables are wider than a phone: they scroll by themselves";
  std::vector<std::string> ids;
  for (const auto& plot : seen["plots"]) {
    ids.push_back(plot["id"]);
    EXPECT_GT(plot["width"], 250) << plot;
    EXPECT_GT(plot["height"], 150) << plot;
    EXPECT_GT(plot["marks"], 0) << plot;
    EXPECT_GE(plot["texts"], 4) << plot;
    EXPECT_GT(plot["alt"], 30) << plot;
    EXPECT_GT(plot["values"], 0) << plot;
  }
  for (const auto* id : {"downtime-total",
                         "scaling-memory-total",
                         "scaling-memory-downtime",
                         "s1-downtime",
                         "s1-faults",
                         "s1-guest-faults",
                         "s1-rounds",
                         "s1-throughput1",
                         "s3-throughput1"}) {
    EXPECT_NE(std::find(ids.begin(), ids.end(), id), ids.end()) << id << " of " << seen["plots"];
  }
}

TEST_F(Report, SaysWhatIsWrongAndLeavesNoPage) {
  const auto report = [&](const std::string& file, const Prepare& prepare = {}) {
    return run_lab(fmt::format("report {} --out {}", at(file), at("page.html")), prepare);
  };
  directory_.write("row.jsonl",
                   R"({"schema":"godwit.lab.v1","kind":"run","scenario":"s"})"
                   "\n");
  directory_.write("cut.jsonl", R"({"schema":"godwit.lab.v1","ki)");
  EXPECT_EQ(report("nothing.jsonl").code, 2);
  const auto cut = report("cut.jsonl");
  EXPECT_EQ(cut.code, 2);
  EXPECT_THAT(cut.err, HasSubstr("cut.jsonl:1:"));
  const auto none = report("row.jsonl", [] { ::setenv("PATH", "/nonexistent", 1); });
  EXPECT_EQ(none.code, 3) << none.all();
  EXPECT_THAT(none.err, HasSubstr("gnuplot-nox"));
  EXPECT_THAT(directory_.names(), Not(testing::Contains("page.html")));
}

TEST_F(Report, TwoFilesAreComparedForRegressions) {
  // The figures of one run, seven times with a little noise; B's total is a quarter longer.
  const auto write = [&](const std::string& name, double factor) {
    std::ofstream file(at(name));
    for (int i = 0; i < 7; ++i) {
      Json row = {{"schema", "godwit.lab.v1"},
                  {"kind", "run"},
                  {"scenario", "s"},
                  {"side", "s"},
                  {"swept", Json::object()},
                  {"verified", true},
                  {"figures", {{"total_ns", (1e9 + 1e6 * i) * factor}, {"downtime_ns", 1e6}}}};
      file << json_text(row) << "\n";
    }
  };
  write("a.jsonl", 1);
  write("b.jsonl", 1.25);
  const auto compare = [&](const std::string& arguments) {
    return run_lab("compare " + arguments);
  };
  EXPECT_EQ(compare(at("a.jsonl") + " " + at("a.jsonl")).code, 0);
  EXPECT_EQ(compare(at("b.jsonl") + " " + at("a.jsonl")).code, 0) << "better is not worse";
  const auto worse = compare(at("a.jsonl") + " " + at("b.jsonl") + " --json");
  EXPECT_EQ(worse.code, 1) << worse.all();
  const auto& row = worse.json;
  ASSERT_TRUE(row.is_object()) << worse.all();
  EXPECT_EQ(row["kind"], "file-comparison");
  EXPECT_EQ(row["figures"]["total_ns"]["worse"], true);
  EXPECT_EQ(row["figures"]["downtime_ns"]["worse"], false);
  EXPECT_EQ(compare(at("a.jsonl")).code, 2) << "one file is no pair";
  EXPECT_EQ(compare(at("a.jsonl") + " " + at("b.jsonl") + " --scenario same").code, 2);
  EXPECT_EQ(compare("").code, 2);
}

}  // namespace
}  // namespace godwit::test
