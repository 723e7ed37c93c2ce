#include "in_process.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/require_kvm.h"

namespace godwit::test {
namespace {

/// Only against waiting for ever: a machine may be emulated, and ctest ends a test that hangs
/// sooner.
constexpr std::int64_t kPatienceNs = 600'000'000'000;

struct Case {
  vmm::GuestKind kind;
  engine::Mode mode;
  vmm::Workload workload;
  std::uint32_t vcpus;
  std::uint32_t channels = 1;
  vmm::Backing backing = vmm::Backing::kMemfd;
  Wire wire{};
};

vmm::GuestConfig config_of(const Case& c) {
  vmm::GuestConfig config;
  config.kind = c.kind;
  config.memory_bytes = 64 * kMiB;
  config.populated_bytes = 48 * kMiB;
  config.working_set_bytes = 16 * kMiB;
  config.vcpus = c.vcpus;
  config.workload = c.workload;
  config.backing = c.backing;
  return config;
}

void boot(vmm::Guest& guest) {
  ASSERT_TRUE(guest.boot());
  const auto deadline = Deadline::after_ns(kPatienceNs);
  while (!guest.filled() && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_TRUE(guest.filled());
}

class GuestMigration : public testing::TestWithParam<Case> {};

TEST_P(GuestMigration, ArrivesWhole) {
  if (GetParam().kind == vmm::GuestKind::kKvm) {
    GODWIT_NEED_KVM();
  }
  auto guest = vmm::make_guest(config_of(GetParam()), {});
  ASSERT_TRUE(guest) << guest.error().message();
  boot(**guest);
  engine::SourceOptions options;
  options.mode = GetParam().mode;
  options.channels = GetParam().channels;
  auto migration = migrate(**guest, options, {}, false, GetParam().wire);
  ASSERT_TRUE(migration) << migration.error().message();
  const auto& report = migration->report;
  ASSERT_EQ(report.outcome, engine::Outcome::kCompleted)
      << (report.error ? report.error->side + " " + report.error->phase + ": " +
                             report.error->error.message()
                       : "");
  ASSERT_TRUE(migration->arrived);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  auto sweep = migration->arrived->sweep(Deadline::after_ns(kPatienceNs));
  ASSERT_TRUE(sweep) << sweep.error().message();
  EXPECT_EQ(sweep->mismatches, 0U);
  EXPECT_EQ(sweep->pages_checked, sweep->pages_expected);
  const auto telemetry = migration->arrived->telemetry();
  EXPECT_EQ(telemetry.guest_errors, 0U) << telemetry.first_error;
  EXPECT_EQ(telemetry.step_holes, 0U);
  EXPECT_EQ(report.pages_sent_twice, 0U);
  EXPECT_EQ(report.pages_populated, report.pages_sent + report.pages_zero);
  fmt::print(
      "total {:.1f} ms downtime {:.3f} ms (quiesce {} sync {} save {} transfer {} load {} resume "
      "{} us) demand {} "
      "background {} overtaken {} faults {} p50 {} us retracted {} at switch {}\n",
      static_cast<double>(report.total_ns) / 1e6,
      static_cast<double>(report.downtime_ns) / 1e6,
      report.parts.quiesce / 1000,
      report.parts.final_sync / 1000,
      report.parts.state_save / 1000,
      report.parts.state_transfer / 1000,
      report.parts.state_load / 1000,
      report.parts.resume / 1000,
      report.pages_demand,
      report.pages_background,
      report.pages_overtaken,
      report.target.faults.count(),
      report.target.faults.quantile(0.5) / 1000,
      report.target.retracted,
      report.target.retracted_at_switch);
  migration->arrived->stop();
  (*guest)->stop();
}

std::vector<Case> cases(vmm::GuestKind kind) {
  std::vector<Case> all;
  for (const auto mode : {engine::Mode::kHybrid,
                          engine::Mode::kPrecopy,
                          engine::Mode::kPostcopy,
                          engine::Mode::kStopAndCopy}) {
    for (const auto workload :
         {vmm::Workload::kIdle, vmm::Workload::kRandomWrite, vmm::Workload::kRandomRead}) {
      for (const std::uint32_t vcpus : {1U, 2U}) {
        all.push_back({kind, mode, workload, vcpus});
      }
      all.push_back({kind, mode, workload, 2, 1, vmm::Backing::kAnonymous});
    }
    // More channels than lanes, and more lanes than one.
    for (const std::uint32_t channels : {2U, 4U, 17U}) {
      all.push_back({kind, mode, vmm::Workload::kRandomWrite, 2, channels});
    }
    all.push_back({kind, mode, vmm::Workload::kRandomWrite, 2, 4, vmm::Backing::kAnonymous});
  }
  using net::LoopKind;
  for (const auto wire :
       {Wire{LoopKind::kPoll, false}, Wire{LoopKind::kPoll, true}, Wire{LoopKind::kUring, true}}) {
    for (const auto mode : {engine::Mode::kHybrid, engine::Mode::kPostcopy}) {
      all.push_back({kind, mode, vmm::Workload::kRandomWrite, 2, 2, vmm::Backing::kMemfd, wire});
    }
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  auto name = fmt::format("{}_{}_{}_{}_channels{}",
                          engine::mode_name(info.param.mode),
                          vmm::workload_name(info.param.workload),
                          info.param.vcpus,
                          info.param.channels,
                          info.param.backing == vmm::Backing::kAnonymous ? "_anonymous" : "");
  if (info.param.wire.loop == net::LoopKind::kPoll) {
    name += "_poll";
  }
  if (info.param.wire.unix_socket) {
    name += "_unix";
  }
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Kvm,
                         GuestMigration,
                         testing::ValuesIn(cases(vmm::GuestKind::kKvm)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Process,
                         GuestMigration,
                         testing::ValuesIn(cases(vmm::GuestKind::kProcess)),
                         name_of);

}  // namespace
}  // namespace godwit::test
