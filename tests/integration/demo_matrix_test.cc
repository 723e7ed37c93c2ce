// The product of modes, guests, vCPUs and workloads through the command itself: two processes, verified by the guest.

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>

#include "command.h"

namespace godwit::test {
namespace {

struct Case {
  std::string mode;
  std::string guest;
  int vcpus;
  std::string workload;
  std::string transport = "uring";
  bool unix_socket = false;
};

class DemoMatrix : public testing::TestWithParam<Case> {};

TEST_P(DemoMatrix, CompletesVerified) {
  const auto& c = GetParam();
  const auto ran = run_command(fmt::format(
      "demo --json --memory 128MiB --mode {} --guest {} --vcpus {} --workload {} --transport {} {}",
      c.mode, c.guest, c.vcpus, c.workload, c.transport,
      c.unix_socket ? fmt::format("--to unix:/tmp/godwit-matrix-{}", ::getpid()) : ""));
  ASSERT_TRUE(ran.report.is_object()) << ran.out;
  EXPECT_EQ(ran.code, 0) << ran.out;
  const auto& report = ran.report;
  EXPECT_EQ(report["schema"], "godwit.report.v1");
  ASSERT_EQ(report["outcome"], "completed") << ran.out;
  EXPECT_EQ(report["guest"]["kind"], c.guest);
  EXPECT_EQ(report["transport"], c.transport);
  EXPECT_EQ(report["congestion"] == "none", c.unix_socket) << report["congestion"];
  const auto& verified = report["verified"];
  EXPECT_EQ(verified["mismatches"], 0);
  EXPECT_EQ(verified["guest_errors"], 0);
  EXPECT_GT(verified["pages_checked"].get<std::uint64_t>(), 0U);
  EXPECT_EQ(verified["pages_checked"], verified["pages_expected"]);
  const auto& pages = report["pages"];
  EXPECT_EQ(pages["sent_twice_after_switch"], 0);
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
  if (c.workload == "random-write" && (c.mode == "hybrid" || c.mode == "postcopy")) {
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
    }
  }
  for (const auto* guest : {"kvm", "process"}) {
    for (const auto* mode : {"hybrid", "postcopy"}) {
      all.push_back({mode, guest, 2, "random-write", "poll", false});
      all.push_back({mode, guest, 2, "random-write", "poll", true});
      all.push_back({mode, guest, 2, "random-write", "uring", true});
    }
    all.push_back({"precopy", guest, 1, "random-write", "poll", false});
    all.push_back({"stop-and-copy", guest, 1, "random-write", "poll", true});
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  auto name = fmt::format("{}_{}_{}_{}", info.param.mode, info.param.guest, info.param.vcpus, info.param.workload);
  name += info.param.transport == "poll" ? "_poll" : "";
  name += info.param.unix_socket ? "_unix" : "";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Product, DemoMatrix, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace godwit::test
