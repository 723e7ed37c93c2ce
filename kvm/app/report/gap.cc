#include "report/gap.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

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

Gap largest_gap(const vmm::GuestTelemetry& telemetry) {
  Gap gap;
  const auto hz = static_cast<double>(telemetry.counter_hz);
  for (const auto& vcpu : telemetry.vcpus) {
    if (vcpu.first_step_ns == 0 || vcpu.previous_step_ns == 0) {
      continue;
    }
    const auto ns = vcpu.first_step_ns - vcpu.previous_step_ns;
    const auto ticks = vcpu.first_counter - vcpu.previous_counter;
    const auto by_counter = static_cast<double>(static_cast<std::int64_t>(ticks)) * 1e9 / hz;
    const auto error = std::llround(std::fabs(by_counter - static_cast<double>(ns)));
    gap.clock_error_ns = std::max<std::int64_t>(gap.clock_error_ns, error);
    if (ns > gap.ns) {
      gap.ns = ns;
      gap.first_step_here_ns = vcpu.first_step_here_ns;
    }
  }
  return gap;
}

std::int64_t largest_step(const vmm::GuestTelemetry& telemetry) {
  std::int64_t largest = 0;
  for (const auto& vcpu : telemetry.vcpus) {
    largest = std::max(largest, vcpu.largest_step_ns);
  }
  return largest;
}

std::uint64_t steps(const vmm::GuestTelemetry& telemetry) {
  std::uint64_t sum = 0;
  for (const auto& vcpu : telemetry.vcpus) {
    sum += vcpu.steps;
  }
  return sum;
}

/// The gap brackets the downtime: shorter is impossible, much longer means that one of the two is
/// wrong. The guest cannot time the faults that lie outside of its touches (code, stack, page
/// tables), so the first step's faults are what it took from the moment when its vCPU was told to
/// run; what went before is the engine's, and must be in the downtime.
void check_consistency(Report& report, const Gap& gap, std::int64_t mean_step_ns) {
  const bool idle = report.guest.workload == vmm::workload_name(vmm::Workload::kIdle);
  const auto allowed =
      2 * std::max(idle ? kIdleStepNs : kBusyStepNs, mean_step_ns) + gap.first_step_here_ns;
  const auto beyond = gap.ns - report.downtime_ns;
  if (beyond >= 0 && beyond <= allowed) {
    return;
  }
  report.warnings.push_back(
      fmt::format("guest_gap_ns - downtime_ns is {} ns; 0 to {} ns (two steps and the first step's "
                  "faults) were expected",
                  beyond,
                  allowed));
}

/// What ended the migration says more.
void name_damage(Report& report, const char* side, std::string message) {
  if (!report.error) {
    report.error = {make_error(ErrorCode::kGuest, "", std::move(message)), side, "verification"};
  }
}

}  // namespace

void add_target(Report& report, const ReportAnswer& source, const TelemetryAnswer& target) {
  const auto gap = largest_gap(target.telemetry);
  report.guest_gap_ns = gap.ns;
  report.clock_error_ns = gap.clock_error_ns;
  report.largest_stall_ns =
      std::max({gap.ns, largest_step(source.telemetry), largest_step(target.telemetry)});
  report.guest_faults = summarize(target.telemetry.slow_touches);
  report.guest.steps = steps(target.telemetry);
  report.overhead_bytes.target = target.memory.overhead;
  report.page_table_bytes.target = target.memory.page_tables;
  check_consistency(report, gap, source.mean_step_ns);
}

void add_sweep(Report& report, const SweepAnswer& answer) {
  const auto& sweep = answer.sweep;
  const auto& telemetry = answer.telemetry;
  const char* side = report.outcome == engine::Outcome::kCompleted ? "target" : "source";
  report.verified = {.pages_expected = sweep.pages_expected,
                     .pages_checked = sweep.pages_checked,
                     .mismatches = sweep.mismatches,
                     .guest_errors = telemetry.guest_errors};
  if (sweep.mismatches > 0) {
    auto text = fmt::format(
        "{} pages are damaged, the first is page {}", sweep.mismatches, sweep.first_bad_page);
    if (!telemetry.first_error.empty()) {
      text += "; the guest's first error: " + telemetry.first_error;
    }
    name_damage(report, side, std::move(text));
  } else if (telemetry.guest_errors > 0) {
    name_damage(report, side, telemetry.first_error);
  } else if (sweep.pages_checked != sweep.pages_expected) {
    report.verified.mismatches = sweep.pages_expected - sweep.pages_checked;
    name_damage(report, side, "the sweep left pages out");
  }
}

}  // namespace godwit::app
