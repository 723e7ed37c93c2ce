#include "qemu/qemu_figures.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "guest/pc_platform.h"

#include "unit/lab/qemu/milliseconds.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kBeganNs = 10'000 * kMs;

/// A guest of one step a millisecond that stops 400 ms after the migration began, for 50 ms.
QemuCourse course(std::uint64_t page_requests) {
  QemuCourse out;
  std::uint64_t number = 0;
  const auto steps = [&](End end, std::int64_t from_ns, std::int64_t to_ns) {
    for (auto at = from_ns; at < to_ns; at += kMs) {
      const auto low = static_cast<std::uint8_t>(++number & guest::kPcStepMask);
      out.doorbells.feed(end, std::vector{static_cast<std::uint8_t>(guest::kPcStepBit | low)}, at);
    }
  };
  steps(End::kSource, kBeganNs - 300 * kMs, kBeganNs + 401 * kMs);
  steps(End::kTarget, kBeganNs + 450 * kMs, kBeganNs + 1000 * kMs);
  out.answer = parse_json(R"({"downtime": 12, "ram": {"transferred": 4096}})");
  out.answer["ram"]["postcopy-requests"] = page_requests;
  out.in_postcopy = true;
  out.began_ns = kBeganNs;
  out.total_ns = 600 * kMs;
  out.cpu_source_ns = 7;
  out.cpu_target_before_ns = 8;
  out.cpu_target_ns = 9;
  return out;
}

QemuPlan plan_of(const char* mode, vmm::Workload workload) {
  QemuPlan out{*parse_qemu_mode(mode), {}};
  out.options.guest.workload = workload;
  return out;
}

PeerRun noted(const QemuCourse& course, const QemuPlan& plan) {
  PeerNetwork network;
  network.congestion = "reno";
  network.note = "congestion control is reno, not cubic";
  PeerRun run;
  note_course(course, plan, network, run);
  return run;
}

TEST(QemuFigures, ComeFromTheGuestAndTheProcesses) {
  const auto run = noted(course(0), plan_of("precopy", vmm::Workload::kIdle));
  EXPECT_EQ(run.reason, "");
  EXPECT_EQ(number_at(run.figures, "/total_ns"), 600 * kMs);
  EXPECT_EQ(number_at(run.figures, "/downtime_ns"), 12 * kMs) << "QEMU's own";
  EXPECT_EQ(number_at(run.figures, "/guest_gap_ns"), 50 * kMs);
  EXPECT_EQ(number_at(run.figures, "/largest_stall_ns"), 50 * kMs);
  EXPECT_EQ(number_at(run.figures, "/cpu_source_ns"), 7);
  EXPECT_EQ(number_at(run.figures, "/cpu_target_ns"), 9);
  EXPECT_EQ(number_at(run.report, "/qemu/cpu_target_before_ns"), 8);
  EXPECT_EQ(number_at(run.report, "/qemu/steps"), 701 + 550);
  EXPECT_EQ(text_at(run.report, "/qemu/congestion"), "reno");
  EXPECT_EQ(json_text(run.report.at("qemu").at("notes")),
            R"(["congestion control is reno, not cubic"])");
  EXPECT_TRUE(run.report.at("qemu").at("switch_after_rounds").is_null());
  EXPECT_FALSE(run.report.contains("timeline"));
}

TEST(QemuFigures, APostcopyThatWasNoneDoesNotCount) {
  struct Case {
    std::uint64_t page_requests;
    vmm::Workload workload;
    bool in_postcopy;
    const char* reason;
  };
  for (const auto& one : {Case{500, vmm::Workload::kRandomWrite, true, ""},
                          Case{100,
                               vmm::Workload::kRandomWrite,
                               true,
                               "only 100 page requests: no post-copy to speak of"},
                          Case{0, vmm::Workload::kIdle, true, ""},
                          Case{500,
                               vmm::Workload::kRandomWrite,
                               false,
                               "pre-copy converged before post-copy could begin"}}) {
    auto seen = course(one.page_requests);
    seen.in_postcopy = one.in_postcopy;
    EXPECT_EQ(noted(seen, plan_of("postcopy", one.workload)).reason, one.reason);
  }
}

TEST(QemuFigures, NotesSayWhatTheReaderMustKnow) {
  auto idle = plan_of("postcopy", vmm::Workload::kIdle);
  idle.options.prealloc = true;
  EXPECT_EQ(json_text(noted(course(3), idle).report.at("qemu").at("notes")),
            R"(["congestion control is reno, not cubic",)"
            R"("memory is not populated beforehand: post-copy would discard it",)"
            R"("the guest does not write: post-copy from the start, 3 page requests"])");
}

TEST(QemuFigures, ATimelineHasPhasesByWhatTheGuestSaw) {
  auto wanted = plan_of("postcopy", vmm::Workload::kRandomWrite);
  wanted.options.timeline = true;
  const auto run = noted(course(500), wanted);
  EXPECT_EQ(text_at(run.report, "/guest/workload"), "random-write");
  EXPECT_EQ(number_at(run.report, "/timeline/start_ns"), -200.0 * kMs);
  EXPECT_EQ(json_text(run.report.at("phases")),
            R"([{"name":"precopy","start_ns":0,"end_ns":400000000},)"
            R"({"name":"blackout","start_ns":400000000,"end_ns":450000000},)"
            R"({"name":"postcopy","start_ns":450000000,"end_ns":600000000}])");
}

TEST(QemuRun, TakesFiguresThatQemuReports) {
  const auto figures =
      qemu_figures(parse_json(R"({"downtime": 12, "ram": {"transferred": 4096}})"));
  EXPECT_EQ(number_at(figures, "/downtime_ns"), 12e6);
  EXPECT_EQ(number_at(figures, "/wire_bytes"), 4096);
  EXPECT_TRUE(qemu_figures(Json::object()).empty());
}

}  // namespace
}  // namespace godwit::lab
