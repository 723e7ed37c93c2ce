#include "report/report_text.h"

#include <fmt/format.h>

#include "cli/units_text.h"

namespace godwit::app {
namespace {

std::string latency_line(const char* what, const LatencySummary& summary) {
  const auto time = [](std::uint64_t ns) { return duration_text(static_cast<std::int64_t>(ns)); };
  return fmt::format("  {:<11} {} (median {}, 99 % under {}, longest {})\n",
                     what,
                     summary.count,
                     time(summary.p50_ns),
                     time(summary.p99_ns),
                     time(summary.max_ns));
}

std::string rate_text(const Report& report) {
  if (report.total_ns <= 0) {
    return "-";
  }
  const auto per_second =
      static_cast<double>(report.bytes.wire) * 1e9 / static_cast<double>(report.total_ns);
  return size_text(static_cast<std::uint64_t>(per_second)) + "/s";
}

std::string head(const Report& report) {
  auto text = fmt::format("{} {} migration of a {} guest: {} of {} populated, {}, {} vCPU(s)\n",
                          kOutcomeNames.name_of(report.outcome),
                          report.mode,
                          report.guest.kind,
                          size_text(report.guest.populated_bytes),
                          size_text(report.guest.memory_bytes),
                          report.guest.workload,
                          report.guest.vcpus);
  if (report.error) {
    text += fmt::format("  error       {} ({}, noticed by the {} in phase {})\n",
                        report.error->error.message(),
                        error_code_name(report.error->error.code),
                        report.error->side,
                        report.error->phase);
  }
  return text;
}

std::string floors_lines(const Floors& floors) {
  return fmt::format(
      "  floors      memcpy {}/s, one stream {}/s, 4 KiB round trip {}, fault wake {}, fresh page "
      "{}, "
      "largest stall under load {}\n",
      size_text(static_cast<std::uint64_t>(floors.memcpy_bytes_per_s)),
      size_text(static_cast<std::uint64_t>(floors.stream_bytes_per_s)),
      duration_text(floors.roundtrip_4k_ns),
      duration_text(floors.uffd_wake_ns),
      duration_text(floors.fresh_page_ns),
      duration_text(floors.stall_ns));
}

std::string downtime_line(const engine::MigrationReport::Parts& parts) {
  return fmt::format(
      "  downtime    quiesce {}, final sync {}, save {}, transfer {}, load {}, resume {}\n",
      duration_text(parts.quiesce),
      duration_text(parts.final_sync),
      duration_text(parts.state_save),
      duration_text(parts.state_transfer),
      duration_text(parts.state_load),
      duration_text(parts.resume));
}

/// Gap and clock are known only to who asked the guest after it had arrived.
std::string guest_line(const Report& report) {
  const auto stall = duration_text(report.largest_stall_ns);
  if (report.guest_gap_ns <= 0) {
    return fmt::format("  guest saw   largest stall {}\n", stall);
  }
  return fmt::format("  guest saw   gap {}, largest stall {}, clock off by {}\n",
                     duration_text(report.guest_gap_ns),
                     stall,
                     duration_text(report.clock_error_ns));
}

std::string throughput_line(const ReportCourse& course) {
  return fmt::format(
      "  throughput  lowest in 10 ms {}, at 90 % again {}\n",
      course.valley ? fmt::format("{:.0f} % of before", *course.valley * 100) : "not known",
      course.recovery_ns ? duration_text(*course.recovery_ns) + " after the blackout" : "not seen");
}

}  // namespace

std::string report_text(const Report& report) {
  auto text = head(report);
  text += fmt::format("  total       {} = setup {} + pre-copy {} + downtime {} + post-copy {}\n",
                      duration_text(report.total_ns),
                      duration_text(report.setup_ns),
                      duration_text(report.precopy_ns),
                      duration_text(report.downtime_ns),
                      duration_text(report.postcopy_ns));
  if (report.downtime_ns > 0) {
    text += downtime_line(report.downtime_parts);
  }
  text += guest_line(report);
  if (report.course) {
    text += throughput_line(*report.course);
  }
  text += fmt::format("  bytes       {} on the wire at {}, {} of pages, {} urgent\n",
                      size_text(report.bytes.wire),
                      rate_text(report),
                      size_text(report.bytes.page_payload),
                      size_text(report.bytes.urgent));
  text += fmt::format(
      "  pages       {} populated, {} sent ({} again), {} zero, {} on demand, {} in the "
      "background\n",
      report.pages.populated,
      report.pages.sent,
      report.pages.resent,
      report.pages.zero,
      report.pages.demand,
      report.pages.background);
  text += latency_line("faults", report.faults);
  text += latency_line("slow touches", report.guest_faults);
  if (report.floors) {
    text += floors_lines(*report.floors);
  }
  if (report.planted) {
    text += fmt::format("  injected    {} page {}\n",
                        report.planted->kind,
                        report.planted->page ? std::to_string(*report.planted->page) : "none");
  }
  const auto& verified = report.verified;
  if (verified.pages_expected > 0) {
    text += fmt::format("  verified    {} of {} pages checked, {} wrong, {} guest errors\n",
                        verified.pages_checked,
                        verified.pages_expected,
                        verified.mismatches,
                        verified.guest_errors);
  }
  return text;
}

}  // namespace godwit::app
