// The product of modes, guests, vCPUs and workloads through the command itself: two processes, verified by the guest.

#include <gtest/gtest.h>

#include <algorithm>

#include "../unit/kvm/require_kvm.h"
#include "command.h"

namespace godwit::test {
namespace {

struct Case {
  std::string mode;
  std::string guest;
  int vcpus;
  std::string workload;
  std::string backing = "memfd";
  std::string dirty = "auto";
};

class DemoMatrix : public testing::TestWithParam<Case> {};

TEST_P(DemoMatrix, CompletesVerified) {
  const auto& c = GetParam();
  if (c.guest == "kvm") {
    GODWIT_NEED_KVM();
  }
  const auto ran = run_command(fmt::format(
      "demo --json --memory 128MiB --mode {} --guest {} --vcpus {} --workload {} --backing {} "
      "--dirty-source {}",
      c.mode,
      c.guest,
      c.vcpus,
      c.workload,
      c.backing,
      c.dirty));
  ASSERT_TRUE(ran.report.is_object()) << ran.out;
  EXPECT_EQ(ran.code, 0) << ran.out;
  const auto& report = ran.report;
  EXPECT_EQ(report["schema"], "godwit.report.v1");
  ASSERT_EQ(report["outcome"], "completed") << ran.out;
  EXPECT_EQ(report["guest"]["kind"], c.guest);
  EXPECT_EQ(report["backing"], c.backing);
  if (c.dirty != "auto") {
    EXPECT_EQ(report["dirty_source"], c.dirty);
  }
  const auto& verified = report["verified"];
  EXPECT_EQ(verified["mismatches"], 0);
  EXPECT_EQ(verified["guest_errors"], 0);
  EXPECT_GT(verified["pages_checked"].get<std::uint64_t>(), 0U);
  EXPECT_EQ(verified["pages_checked"], verified["pages_expected"]);
  const auto& pages = report["pages"];
  EXPECT_EQ(pages["sent_twice_after_switch"], 0);
  const bool postcopy = c.mode == "hybrid" || c.mode == "postcopy";
  if (c.backing == "anonymous") {
    EXPECT_EQ(report["placement"], postcopy ? "uffd-copy" : "memcpy");
    EXPECT_LE(pages["retracted_at_switch"], pages["retracted"]);
    if (c.mode == "hybrid" && c.workload == "random-write") {
      EXPECT_GT(pages["retracted"], 0) << ran.out;
    } else if (c.mode != "hybrid") {
      EXPECT_EQ(pages["retracted"], 0) << ran.out;
    }
  } else {
    EXPECT_EQ(pages["retracted"], 0) << "nothing is mapped before the switch";
  }
  EXPECT_EQ(pages["populated"].get<std::uint64_t>(),
            pages["sent"].get<std::uint64_t>() + pages["zero"].get<std::uint64_t>());
  const auto ns = [&](const char* name) { return report[name].get<std::int64_t>(); };
  EXPECT_EQ(ns("total_ns"), ns("setup_ns") + ns("precopy_ns") + ns("downtime_ns") + ns("postcopy_ns"));
  std::int64_t parts = 0;
  for (const auto& part : report["downtime_parts_ns"]) {
    parts += part.get<std::int64_t>();
  }
  EXPECT_EQ(parts, ns("downtime_ns"));
  EXPECT_GE(ns("guest_gap_ns"), ns("downtime_ns"));
  if (c.workload == "random-write" && postcopy) {
    EXPECT_GT(report["faults"]["count"].get<std::uint64_t>(), 0U);
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto* mode : {"hybrid", "precopy", "postcopy", "stop-and-copy"}) {
    for (const auto* guest : {"kvm", "process"}) {
      for (const int vcpus : {1, 2}) {
        for (const auto* workload : {"idle", "random-write", "random-read"}) {
          all.push_back({mode, guest, vcpus, workload});
        }
      }
      all.push_back({mode, guest, 2, "random-write", "anonymous"});
      all.push_back({mode, guest, 1, "random-read", "anonymous"});
      all.push_back({mode, guest, 1, "idle", "anonymous"});
    }
  }
  return all;
}

// Each way to notice writes, where it matters: a writer, and rounds with the guest running. The product above has auto.
std::vector<Case> dirty_sources() {
  std::vector<Case> all;
  for (const auto* mode : {"hybrid", "precopy"}) {
    for (const int vcpus : {1, 2}) {
      for (const auto* dirty : {"log", "ring"}) {
        all.push_back({mode, "kvm", vcpus, "random-write", "memfd", dirty});
      }
      for (const auto* dirty : {"wp", "wp-async"}) {
        all.push_back({mode, "process", vcpus, "random-write", "memfd", dirty});
      }
    }
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  auto name = fmt::format("{}_{}_{}_{}_{}_{}",
                          info.param.mode,
                          info.param.guest,
                          info.param.vcpus,
                          info.param.workload,
                          info.param.backing,
                          info.param.dirty);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Product, DemoMatrix, testing::ValuesIn(cases()), name_of);
INSTANTIATE_TEST_SUITE_P(DirtySources, DemoMatrix, testing::ValuesIn(dirty_sources()), name_of);

}  // namespace
}  // namespace godwit::test
