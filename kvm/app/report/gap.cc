#include "report/gap.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/units_text.h"

namespace godwit::app {
namespace {

// A step's length by the workload's own rules; see kvm/guest/workload.h.
constexpr std::int64_t kBusyStepNs = 100'000;
constexpr std::int64_t kIdleStepNs = 1'000'000;

/// The largest gap among the vCPUs, and what may explain it.
struct Gap {
  std::int64_t ns = 0;
  std::int64_t first_step_here_ns = 0;
  std::int64_t clock_error_ns = 0;
};

Gap largest_gap(const Json& telemetry) {
  Gap gap;
  const auto hz = number_of<double>(telemetry, "counter_hz", 1e9);
  const auto found = telemetry.find("vcpus");
  if (found == telemetry.end() || !found->is_array()) {
    return gap;
  }
  for (const auto& vcpu : *found) {
    const auto first = number_of(vcpu, "first_step_ns");
    const auto previous = number_of(vcpu, "previous_step_ns");
    if (first == 0 || previous == 0) {
      continue;
    }
    const auto ns = first - previous;
    const auto ticks = number_of<std::uint64_t>(vcpu, "first_counter") -
                       number_of<std::uint64_t>(vcpu, "previous_counter");
    const auto by_counter = static_cast<double>(static_cast<std::int64_t>(ticks)) * 1e9 / hz;
    const auto error = std::llround(std::fabs(by_counter - static_cast<double>(ns)));
    gap.clock_error_ns = std::max<std::int64_t>(gap.clock_error_ns, error);
    if (ns > gap.ns) {
      gap.ns = ns;
      gap.first_step_here_ns = number_of(vcpu, "first_step_here_ns");
    }
  }
  return gap;
}

std::int64_t largest_step(const Json& telemetry) {
  std::int64_t largest = 0;
  const auto found = telemetry.find("vcpus");
  if (found != telemetry.end() && found->is_array()) {
    for (const auto& vcpu : *found) {
      largest = std::max(largest, number_of(vcpu, "largest_step_ns"));
    }
  }
  return largest;
}

std::uint64_t steps(const Json& telemetry) {
  std::uint64_t sum = 0;
  const auto found = telemetry.find("vcpus");
  if (found != telemetry.end() && found->is_array()) {
    for (const auto& vcpu : *found) {
      sum += number_of<std::uint64_t>(vcpu, "steps");
    }
  }
  return sum;
}

/// The gap brackets the downtime: shorter is impossible, much longer means that one of the two is
/// wrong. The guest cannot time the faults that lie outside of its touches (code, stack, page
/// tables), so the first step's faults are what it took from the moment when its vCPU was told to
/// run; what went before is the engine's, and must be in the downtime.
void check_consistency(Json& report, const Gap& gap, std::int64_t mean_step_ns) {
  const auto idle = text_of(object_of(report, "guest"), "workload") == "idle";
  const auto allowed =
      2 * std::max(idle ? kIdleStepNs : kBusyStepNs, mean_step_ns) + gap.first_step_here_ns;
  const auto beyond = gap.ns - number_of(report, "downtime_ns");
  if (beyond >= 0 && beyond <= allowed) {
    return;
  }
  const auto text = fmt::format(
      "guest_gap_ns - downtime_ns is {} ns; 0 to {} ns (two steps and the first step's "
      "faults) were expected",
      beyond,
      allowed);
  report["warnings"].push_back(text);
}

void name_damage(Json& report, const char* side, const std::string& message) {
  if (!report["error"].is_null()) {
    return;  // what ended the migration says more
  }
  Json error;
  error["code"] = "guest";
  error["side"] = side;
  error["phase"] = "verification";
  error["message"] = message;
  report["error"] = std::move(error);
}

}  // namespace

void merge_target(Json& report, const Json& source, const Json& target) {
  const auto telemetry = object_of(target, "telemetry");
  const auto gap = largest_gap(telemetry);
  report["guest_gap_ns"] = gap.ns;
  report["clock_error_ns"] = gap.clock_error_ns;
  report["largest_stall_ns"] = std::max({gap.ns, largest_step(source), largest_step(telemetry)});
  report["guest_faults"] = object_of(telemetry, "slow_touches");
  report["guest"]["steps"] = steps(telemetry);
  report["overhead_bytes"]["target"] = number_of<std::uint64_t>(target, "overhead_bytes");
  report["page_table_bytes"]["target"] = number_of<std::uint64_t>(target, "page_table_bytes");
  check_consistency(report, gap, number_of(source, "mean_step_ns"));
}

void merge_sweep(Json& report, const Json& answer) {
  const auto sweep = object_of(answer, "sweep");
  const auto telemetry = object_of(answer, "telemetry");
  const auto mismatches = number_of<std::uint64_t>(sweep, "mismatches");
  const auto errors = number_of<std::uint64_t>(telemetry, "guest_errors");
  const char* side = text_of(report, "outcome") == "completed" ? "target" : "source";
  auto& verified = report["verified"];
  verified["pages_expected"] = number_of<std::uint64_t>(sweep, "pages_expected");
  verified["pages_checked"] = number_of<std::uint64_t>(sweep, "pages_checked");
  verified["mismatches"] = mismatches;
  verified["guest_errors"] = errors;
  if (mismatches > 0) {
    auto text = fmt::format("{} pages are damaged, the first is page {}",
                            mismatches,
                            number_of<std::uint64_t>(sweep, "first_bad_page"));
    if (const auto first = text_of(telemetry, "first_error"); !first.empty()) {
      text += "; the guest's first error: " + first;
    }
    name_damage(report, side, text);
  } else if (errors > 0) {
    name_damage(report, side, text_of(telemetry, "first_error"));
  } else if (number_of<std::uint64_t>(sweep, "pages_checked") !=
             number_of<std::uint64_t>(sweep, "pages_expected")) {
    verified["mismatches"] = number_of<std::uint64_t>(sweep, "pages_expected") -
                             number_of<std::uint64_t>(sweep, "pages_checked");
    name_damage(report, side, "the sweep left pages out");
  }
}

}  // namespace godwit::app
