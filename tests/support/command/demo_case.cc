#include "support/command/demo_case.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

namespace godwit::test {
namespace {

void expect_times_add_up(const Json& report) {
  const auto ns = [&](const char* name) { return report[name].get<std::int64_t>(); };
  EXPECT_EQ(ns("total_ns"),
            ns("setup_ns") + ns("precopy_ns") + ns("downtime_ns") + ns("postcopy_ns"));
  std::int64_t parts = 0;
  for (const auto& part : report["downtime_parts_ns"]) {
    parts += part.get<std::int64_t>();
  }
  EXPECT_EQ(parts, ns("downtime_ns"));
  EXPECT_GE(ns("guest_gap_ns"), ns("downtime_ns"));
}

}  // namespace

std::string name_of(const testing::TestParamInfo<DemoCase>& info) {
  const auto& c = info.param;
  auto name = fmt::format("{}_{}_{}_{}", c.mode, c.guest, c.vcpus, c.workload);
  const auto add = [&](const std::string& what, bool unusual) {
    name += unusual ? "_" + what : "";
  };
  add(c.backing, c.backing != "memfd");
  add(c.dirty, c.dirty != "auto");
  add(fmt::format("{}channels", c.channels), c.channels != 1);
  add(c.transport, c.transport != "uring");
  add("unix", c.unix_socket);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

void expect_verified(const Json& report) {
  const auto& verified = report["verified"];
  EXPECT_EQ(verified["mismatches"], 0);
  EXPECT_EQ(verified["guest_errors"], 0);
  EXPECT_GT(verified["pages_checked"].get<std::uint64_t>(), 0U);
  EXPECT_EQ(verified["pages_checked"], verified["pages_expected"]);
  const auto& pages = report["pages"];
  EXPECT_EQ(pages["sent_twice_after_switch"], 0);
  EXPECT_EQ(pages["populated"].get<std::uint64_t>(),
            pages["sent"].get<std::uint64_t>() + pages["zero"].get<std::uint64_t>());
}

void run_demo_case(const DemoCase& c, const std::string& memory) {
  if (c.guest == "kvm") {
    GODWIT_NEED_KVM();
  }
  const auto ran = run(fmt::format(
      "demo --json --memory {} --mode {} --guest {} --vcpus {} --workload {} --backing {} "
      "--dirty-source {} --channels {} --transport {} {}",
      memory,
      c.mode,
      c.guest,
      c.vcpus,
      c.workload,
      c.backing,
      c.dirty,
      c.channels,
      c.transport,
      c.unix_socket ? fmt::format("--to unix:/tmp/godwit-matrix-{}", ::getpid()) : ""));
  ASSERT_TRUE(ran.json.is_object()) << ran.all();
  EXPECT_EQ(ran.code, 0) << ran.all();
  const auto& report = ran.json;
  EXPECT_EQ(report["schema"], "godwit.report.v1");
  ASSERT_EQ(report["outcome"], "completed") << ran.all();
  EXPECT_EQ(report["guest"]["kind"], c.guest);
  EXPECT_EQ(report["backing"], c.backing);
  EXPECT_EQ(report["channels"], c.channels);
  EXPECT_EQ(report["transport"], c.transport);
  EXPECT_EQ(report["congestion"] == "none", c.unix_socket) << report["congestion"];
  if (c.dirty != "auto") {
    EXPECT_EQ(report["dirty_source"], c.dirty);
  }
  expect_verified(report);
  expect_times_add_up(report);
}

}  // namespace godwit::test
