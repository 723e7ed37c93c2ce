#include "ground/figures.h"

#include <array>
#include <cmath>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

using Value = std::optional<double>;

Value value_at(const Json& report, const char* pointer) {
  const Json::json_pointer at(pointer);
  if (!report.contains(at) || !report.at(at).is_number()) {
    return std::nullopt;
  }
  return report.at(at).get<double>();
}

/// A latency of faults: only a run that had faults has one.
Value fault_at(const Json& report, const char* count, const char* pointer) {
  return number_at(report, count) > 0 ? value_at(report, pointer) : std::nullopt;
}

/// Page bytes over the whole migration, connecting and blackout included.
Value page_rate(const Json& report) {
  const auto total_ns = number_at(report, "/total_ns");
  const auto bytes = number_at(report, "/bytes/page_payload");
  return total_ns > 0 && bytes > 0 ? Value(bytes * 1e9 / total_ns) : std::nullopt;
}

Value page_rate_of_stream(const Json& report) {
  const auto floor = number_at(report, "/floors/stream_bytes_per_s");
  const auto rate = page_rate(report);
  return floor > 0 && rate ? Value(*rate / floor) : std::nullopt;
}

constexpr std::array kFigures{
    Figure{"total_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/total_ns"); }},
    Figure{"setup_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/setup_ns"); }},
    Figure{"precopy_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/precopy_ns"); }},
    Figure{"downtime_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/downtime_ns"); }},
    Figure{"guest_gap_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/guest_gap_ns"); }},
    Figure{"postcopy_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/postcopy_ns"); }},
    Figure{"largest_stall_ns",
           Unit::kNs,
           [](const Json& r) { return value_at(r, "/largest_stall_ns"); }},
    Figure{
        "stall_floor_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/floors/stall_ns"); }},
    Figure{"recovery_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/recovery_ns"); }},
    Figure{"valley", Unit::kShare, [](const Json& r) { return value_at(r, "/valley"); }},
    Figure{"fault_p50_ns",
           Unit::kNs,
           [](const Json& r) { return fault_at(r, "/faults/count", "/faults/p50_ns"); }},
    Figure{"fault_p99_ns",
           Unit::kNs,
           [](const Json& r) { return fault_at(r, "/faults/count", "/faults/p99_ns"); }},
    Figure{
        "guest_fault_p50_ns",
        Unit::kNs,
        [](const Json& r) { return fault_at(r, "/guest_faults/count", "/guest_faults/p50_ns"); }},
    Figure{
        "guest_fault_p99_ns",
        Unit::kNs,
        [](const Json& r) { return fault_at(r, "/guest_faults/count", "/guest_faults/p99_ns"); }},
    Figure{"page_bytes_per_s", Unit::kBytesPerS, page_rate},
    Figure{"stream_bytes_per_s",
           Unit::kBytesPerS,
           [](const Json& r) { return value_at(r, "/floors/stream_bytes_per_s"); }},
    Figure{"page_rate_of_stream", Unit::kShare, page_rate_of_stream},
    Figure{"wire_bytes", Unit::kBytes, [](const Json& r) { return value_at(r, "/bytes/wire"); }},
    Figure{
        "pages_resent", Unit::kCount, [](const Json& r) { return value_at(r, "/pages/resent"); }},
    Figure{"cpu_source_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/cpu_ns/source"); }},
    Figure{"cpu_target_ns", Unit::kNs, [](const Json& r) { return value_at(r, "/cpu_ns/target"); }},
    Figure{"overhead_source_bytes",
           Unit::kBytes,
           [](const Json& r) { return value_at(r, "/overhead_bytes/source"); }},
    Figure{"overhead_target_bytes",
           Unit::kBytes,
           [](const Json& r) { return value_at(r, "/overhead_bytes/target"); }},
    Figure{"page_table_source_bytes",
           Unit::kBytes,
           [](const Json& r) { return value_at(r, "/page_table_bytes/source"); }},
    Figure{"page_table_target_bytes",
           Unit::kBytes,
           [](const Json& r) { return value_at(r, "/page_table_bytes/target"); }},
};

std::string scaled(double value, double base, std::span<const char* const> units) {
  std::size_t unit = 0;
  while (std::fabs(value) >= base && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  return fmt::format(
      "{:.{}f} {}", value, unit == 0 || std::fabs(value) >= 100 ? 0 : 2, units[unit]);
}

}  // namespace

std::span<const Figure> figures() {
  return kFigures;
}

const Figure* find_figure(std::string_view name) {
  for (const auto& figure : kFigures) {
    if (name == figure.name) {
      return &figure;
    }
  }
  return nullptr;
}

Json figures_of(const Json& report) {
  auto json = Json::object();
  for (const auto& figure : kFigures) {
    if (const auto value = figure.of(report)) {
      json[figure.name] = *value;
    }
  }
  return json;
}

std::string figure_text(Unit unit, double value) {
  static constexpr std::array kTimes{"ns", "us", "ms", "s"};
  static constexpr std::array kSizes{"B", "KiB", "MiB", "GiB", "TiB"};
  switch (unit) {
    case Unit::kNs:
      return scaled(value, 1000, kTimes);
    case Unit::kBytes:
      return scaled(value, 1024, kSizes);
    case Unit::kBytesPerS:
      return scaled(value, 1024, kSizes) + "/s";
    case Unit::kCount:
      return fmt::format("{:.0f}", value);
    case Unit::kShare:
      return fmt::format("{:.3f}", value);
  }
  return {};
}

std::string unverified_reason(int exit_code, const Json& report) {
  if (!report.is_object()) {
    return fmt::format("exit code {}, no report", exit_code);
  }
  const auto outcome = text_at(report, "/outcome");
  if (exit_code != 0 || outcome != "completed") {
    return fmt::format(
        "exit code {}, {}: {}", exit_code, outcome, text_at(report, "/error/message"));
  }
  const auto expected = number_at(report, "/verified/pages_expected");
  const auto checked = number_at(report, "/verified/pages_checked");
  const auto wrong = number_at(report, "/verified/mismatches", 1);
  const auto errors = number_at(report, "/verified/guest_errors", 1);
  if (expected <= 0 || checked != expected || wrong != 0 || errors != 0) {
    return fmt::format("{:.0f} of {:.0f} pages checked, {:.0f} wrong, {:.0f} guest errors",
                       checked,
                       expected,
                       wrong,
                       errors);
  }
  const auto twice = number_at(report, "/pages/sent_twice_after_switch", 1);
  return twice == 0 ? std::string()
                    : fmt::format("{:.0f} pages were sent twice after the switch", twice);
}

}  // namespace godwit::lab
