#include "qemu/qemu_plan.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

QemuPlan plan(const char* mode, vmm::Workload workload) {
  QemuPlan out{*parse_qemu_mode(mode), {}};
  out.options.guest.workload = workload;
  out.options.prealloc = true;
  out.options.downtime_limit_ns = 300'000'000;
  out.options.switch_after_rounds = 2;
  return out;
}

TEST(QemuPlan, AGuestThatDoesNotWriteSwitchesAtOnce) {
  struct Case {
    vmm::Workload workload;
    bool writes;
    std::uint64_t switch_after;
  };
  for (const auto& one : {Case{vmm::Workload::kIdle, false, 0},
                          Case{vmm::Workload::kSequentialWrite, true, 2},
                          Case{vmm::Workload::kZipfWrite, true, 2}}) {
    const auto made = plan("postcopy", one.workload);
    EXPECT_EQ(made.writes(), one.writes);
    EXPECT_EQ(made.switch_after(), one.switch_after);
  }
}

TEST(QemuPlan, PostcopyHasTheLeastDowntimeLimitAndNoPreallocation) {
  struct Case {
    const char* mode;
    std::int64_t limit_ns;
    std::int64_t limit_ms;
    bool prealloc;
  };
  for (const auto& one : {Case{"precopy", 300'000'000, 300, true},
                          Case{"precopy", 1000, 1, true},  // QEMU counts in ms; 0 is another thing
                          Case{"multifd-2", 20'000'000, 20, true},
                          Case{"postcopy", 300'000'000, 1, false},
                          Case{"postcopy-preempt", 300'000'000, 1, false}}) {
    auto made = plan(one.mode, vmm::Workload::kIdle);
    made.options.downtime_limit_ns = one.limit_ns;
    EXPECT_EQ(made.downtime_limit_ms(), one.limit_ms) << one.mode;
    EXPECT_EQ(made.prealloc(), one.prealloc) << one.mode;
  }
}

TEST(QemuPlan, SettingsAreWhatQemuReads) {
  auto made = plan("multifd-4", vmm::Workload::kIdle);
  EXPECT_EQ(json_text(made.parameters()),
            R"({"max-bandwidth":1099511627776,"max-postcopy-bandwidth":0,)"
            R"("downtime-limit":300,"multifd-channels":4})");
  EXPECT_EQ(json_text(made.capabilities()),
            R"({"capabilities":[{"capability":"events","state":true},)"
            R"({"capability":"multifd","state":true}]})");
  made = plan("precopy", vmm::Workload::kIdle);
  made.options.max_bandwidth = 1000;
  EXPECT_EQ(json_text(made.parameters()),
            R"({"max-bandwidth":1000,"max-postcopy-bandwidth":1000,"downtime-limit":300})");
}

}  // namespace
}  // namespace godwit::lab
