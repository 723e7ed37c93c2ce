#pragma once

#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "godwit/base/units.h"
#include "godwit/vmm/guest.h"

#include "support/require_kvm.h"

namespace godwit::vmm {

/// Only against waiting for ever: a machine may be emulated, and ctest ends a test that hangs sooner.
inline constexpr std::int64_t kPatienceNs = 600'000'000'000;

inline GuestConfig small_kvm_config() {
  GuestConfig config;
  config.kind = GuestKind::kKvm;
  config.memory_bytes = 32 * kMiB;
  config.populated_bytes = 16 * kMiB;
  config.working_set_bytes = 4 * kMiB;
  config.workload = Workload::kRandomWrite;
  config.seed = 42;
  return config;
}

inline Result<std::unique_ptr<Guest>> make(const GuestConfig& config) {
  return make_guest(config, MemoryOptions{});
}

inline void let_run(std::chrono::milliseconds time) {
  std::this_thread::sleep_for(time);
}

/// Waits until every vCPU has taken `more` further steps. Returns false when that takes too long.
inline bool wait_steps(const Guest& guest, std::uint64_t more) {
  const auto before = guest.telemetry();
  const auto deadline = Deadline::after_ns(kPatienceNs);
  while (!deadline.passed()) {
    const auto now = guest.telemetry();
    bool all = true;
    for (std::size_t i = 0; i < now.vcpus.size(); ++i) {
      all = all && now.vcpus[i].steps >= before.vcpus[i].steps + more;
    }
    if (all) {
      return true;
    }
    std::this_thread::yield();
  }
  return false;
}

/// Copies all populated pages of one paused machine's memory into another's.
inline void copy_memory(Guest& from, Guest& to) {
  ASSERT_OK(from.populated().scan([&](PageRun run) {
    std::memcpy(to.memory().page({run.region, run.first}),
                from.memory().page({run.region, run.first}),
                run.bytes());
  }));
}

inline void expect_clean_sweep(Guest& guest) {
  const auto swept = guest.sweep(Deadline::after_ns(kPatienceNs));
  ASSERT_OK(swept);
  EXPECT_EQ(swept->mismatches, 0U) << "first bad page " << swept->first_bad_page;
  EXPECT_EQ(swept->pages_checked, swept->pages_expected);
  EXPECT_GT(swept->pages_checked, 0U);
}

inline void expect_no_errors(const Guest& guest) {
  const auto telemetry = guest.telemetry();
  EXPECT_EQ(telemetry.guest_errors, 0U) << telemetry.first_error;
  EXPECT_EQ(telemetry.step_holes, 0U);
}

}  // namespace godwit::vmm
