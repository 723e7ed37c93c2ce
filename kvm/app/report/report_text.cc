#include <fmt/format.h>

#include "cli/output.h"
#include "cli/units_text.h"
#include "report/report_json.h"

namespace godwit::app {
namespace {

std::string time_of(const Json& json, const char* name) {
  return duration_text(number_of(json, name));
}

std::string latency_line(const char* what, const Json& summary) {
  return fmt::format("  {:<11} {} (median {}, 99 % under {}, longest {})\n",
                     what,
                     number_of(summary, "count"),
                     time_of(summary, "p50_ns"),
                     time_of(summary, "p99_ns"),
                     time_of(summary, "max_ns"));
}

std::string rate_text(const Json& report) {
  const auto total = number_of<double>(report, "total_ns");
  const auto wire = number_of<double>(object_of(report, "bytes"), "wire");
  return total > 0 ? size_text(static_cast<std::uint64_t>(wire * 1e9 / total)) + "/s" : "-";
}

std::string head(const Json& report) {
  const auto guest = object_of(report, "guest");
  auto text = fmt::format("{} {} migration of a {} guest: {} of {} populated, {}, {} vCPU(s)\n",
                          text_of(report, "outcome"),
                          text_of(report, "mode"),
                          text_of(guest, "kind"),
                          size_text(number_of<std::uint64_t>(guest, "populated_bytes")),
                          size_text(number_of<std::uint64_t>(guest, "memory_bytes")),
                          text_of(guest, "workload"),
                          number_of(guest, "vcpus"));
  if (const auto error = object_of(report, "error"); !error.empty()) {
    text += fmt::format("  error       {} ({}, noticed by the {} in phase {})\n",
                        text_of(error, "message"),
                        text_of(error, "code"),
                        text_of(error, "side"),
                        text_of(error, "phase"));
  }
  return text;
}

std::string floors_lines(const Json& floors) {
  return fmt::format(
      "  floors      memcpy {}/s, one stream {}/s, 4 KiB round trip {}, fault wake {}, fresh page "
      "{}, "
      "largest stall under load {}\n",
      size_text(number_of<std::uint64_t>(floors, "memcpy_bytes_per_s")),
      size_text(number_of<std::uint64_t>(floors, "stream_bytes_per_s")),
      time_of(floors, "roundtrip_4k_ns"),
      time_of(floors, "uffd_wake_ns"),
      time_of(floors, "fresh_page_ns"),
      time_of(floors, "stall_ns"));
}

std::string downtime_line(const Json& parts) {
  return fmt::format(
      "  downtime    quiesce {}, final sync {}, save {}, transfer {}, load {}, resume {}\n",
      time_of(parts, "quiesce"),
      time_of(parts, "final_sync"),
      time_of(parts, "state_save"),
      time_of(parts, "state_transfer"),
      time_of(parts, "state_load"),
      time_of(parts, "resume"));
}

/// Gap and clock are known only to who asked the guest after it had arrived.
std::string guest_line(const Json& report) {
  if (number_of(report, "guest_gap_ns") <= 0) {
    return fmt::format("  guest saw   largest stall {}\n", time_of(report, "largest_stall_ns"));
  }
  return fmt::format("  guest saw   gap {}, largest stall {}, clock off by {}\n",
                     time_of(report, "guest_gap_ns"),
                     time_of(report, "largest_stall_ns"),
                     time_of(report, "clock_error_ns"));
}

/// Of a report with a timeline.
std::string throughput_line(const Json& report) {
  const auto has = [&](const char* name) {
    const auto found = report.find(name);
    return found != report.end() && found->is_number();
  };
  return fmt::format(
      "  throughput  lowest in 10 ms {}, at 90 % again {}\n",
      has("valley") ? fmt::format("{:.0f} % of before", number_of<double>(report, "valley") * 100)
                    : "not known",
      has("recovery_ns") ? time_of(report, "recovery_ns") + " after the blackout" : "not seen");
}

}  // namespace

std::string report_text(const Json& report) {
  auto text = head(report);
  const auto pages = object_of(report, "pages");
  const auto bytes = object_of(report, "bytes");
  const auto verified = object_of(report, "verified");
  text += fmt::format("  total       {} = setup {} + pre-copy {} + downtime {} + post-copy {}\n",
                      time_of(report, "total_ns"),
                      time_of(report, "setup_ns"),
                      time_of(report, "precopy_ns"),
                      time_of(report, "downtime_ns"),
                      time_of(report, "postcopy_ns"));
  if (number_of(report, "downtime_ns") > 0) {
    text += downtime_line(object_of(report, "downtime_parts_ns"));
  }
  text += guest_line(report);
  if (report.contains("timeline")) {
    text += throughput_line(report);
  }
  text += fmt::format("  bytes       {} on the wire at {}, {} of pages, {} urgent\n",
                      size_text(number_of<std::uint64_t>(bytes, "wire")),
                      rate_text(report),
                      size_text(number_of<std::uint64_t>(bytes, "page_payload")),
                      size_text(number_of<std::uint64_t>(bytes, "urgent")));
  text += fmt::format(
      "  pages       {} populated, {} sent ({} again), {} zero, {} on demand, {} in the "
      "background\n",
      number_of(pages, "populated"),
      number_of(pages, "sent"),
      number_of(pages, "resent"),
      number_of(pages, "zero"),
      number_of(pages, "demand"),
      number_of(pages, "background"));
  text += latency_line("faults", object_of(report, "faults"));
  text += latency_line("slow touches", object_of(report, "guest_faults"));
  if (const auto floors = object_of(report, "floors"); !floors.empty()) {
    text += floors_lines(floors);
  }
  if (const auto injected = object_of(report, "injected"); !injected.empty()) {
    text += fmt::format("  injected    {} page {}\n",
                        text_of(injected, "kind"),
                        injected["page"].is_number() ? std::to_string(number_of(injected, "page"))
                                                     : std::string("none"));
  }
  if (number_of(verified, "pages_expected") > 0) {
    text += fmt::format("  verified    {} of {} pages checked, {} wrong, {} guest errors\n",
                        number_of(verified, "pages_checked"),
                        number_of(verified, "pages_expected"),
                        number_of(verified, "mismatches"),
                        number_of(verified, "guest_errors"));
  }
  return text;
}

void complain_of_warnings(const Json& report) {
  if (const auto warnings = report.find("warnings");
      warnings != report.end() && warnings->is_array()) {
    for (const auto& warning : *warnings) {
      complain("warning: " + warning.get<std::string>());
    }
  }
}

}  // namespace godwit::app
