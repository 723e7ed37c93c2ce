#include "page/page.h"

#include <gtest/gtest.h>

#include "support/report_rows.h"

namespace godwit::lab {
namespace {

std::string page_of(const ResultRows& rows) {
  const auto page = report_page("x.jsonl", rows, [](const std::string&) -> Result<std::string> {
    return std::string("<svg></svg>");
  });
  EXPECT_TRUE(page);
  return page.value_or("");
}

TEST(Page, HasAPlotOfEachKindAndTheTable) {
  ResultRows rows{{verified_run(), verified_run("precopy")}};
  rows.runs[0].report["timeline"] =
      parse_json(R"({"interval_ns":100000000,"start_ns":0,"touches":[5,100,50,0,9]})");
  rows.runs[0].report["guest_faults"] = rows.runs[0].report["faults"];
  rows.runs[0].figures["valley"] = 0.125;
  const auto page = page_of(rows);
  EXPECT_NE(page.find(">valley</th>"), std::string::npos);
  EXPECT_NE(page.find(">0.125<"), std::string::npos);
  EXPECT_EQ(page.find(">recovery</th>"), std::string::npos) << "no run has it";
  for (const auto* id :
       {"downtime-total", "s1-faults", "s1-guest-faults", "s1-rounds", "s1-throughput1"}) {
    EXPECT_NE(page.find(std::string("<div class=\"plot\" id=\"") + id + "\">"), std::string::npos)
        << id;
  }
  EXPECT_NE(page.find("2 of 2 runs verified"), std::string::npos);
  EXPECT_NE(page.find("Commit abc."), std::string::npos);
  EXPECT_NE(page.find("2023-11-14 22:13 UTC"), std::string::npos);
  EXPECT_NE(page.find("godwit demo --json --warm --memory 64MiB --mode precopy"),
            std::string::npos);
  EXPECT_NE(page.find("a CPU"), std::string::npos);
  EXPECT_EQ(page.find("id=\"failed\""), std::string::npos);
}

TEST(Page, FailedRunsAndMissedLimitsAreSaidAndEscaped) {
  ResultRows rows{{verified_run(), verified_run("precopy")},
                  {{"writer", "total_ns 2 s <= 1 s", false}},
                  {{"writer", {{"name", "qemu"}, {"mode", "<em>"}}, "too old"}}};
  rows.runs[1].verified = false;
  rows.runs[1].reason = "<script>alert(1)</script>";
  rows.runs[1].command.push_back("<b>");
  rows.runs[1].host["cpu"] = "<i>";
  rows.runs[1].swept["odd"] = "<u>";
  const auto page = page_of(rows);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  for (const auto* raw : {"<b>", "<i>", "<u>", "<em>"}) {
    EXPECT_EQ(page.find(raw), std::string::npos) << raw;
  }
  EXPECT_NE(page.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos);
  EXPECT_NE(page.find("1 run failed"), std::string::npos);
  EXPECT_NE(page.find("writer, qemu &lt;em&gt;: too old"), std::string::npos);
  EXPECT_NE(page.find("1 limit missed"), std::string::npos);
  EXPECT_NE(page.find("come from 2 machines"), std::string::npos);
}

TEST(Page, WhatIsNotThereIsSaid) {
  ResultRows rows{{verified_run()}};
  const auto page = page_of(rows);
  EXPECT_NE(page.find("No plot of guest throughput"), std::string::npos);
  EXPECT_NE(page.find("No plot of scaling with guest size and dirty rate"), std::string::npos);
  rows.runs[0].verified = false;
  EXPECT_NE(page_of(rows).find("nothing to plot"), std::string::npos);
}

TEST(Page, APlotThatCannotBeDrawnIsAnError) {
  const ResultRows rows{{verified_run()}};
  EXPECT_FALSE(report_page("x", rows, [](const std::string&) -> Result<std::string> {
    return fail(ErrorCode::kIo, "gnuplot", "planted");
  }));
}

}  // namespace
}  // namespace godwit::lab
