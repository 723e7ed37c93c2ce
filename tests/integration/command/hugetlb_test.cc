// Guests on huge pages, through the command itself: every mode, holes, a second hop, planted
// faults, and a pool that is too small.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/demo_case.h"
#include "support/command/guest_under_test.h"
#include "support/huge_pages.h"

namespace godwit::test {
namespace {

constexpr std::uint64_t kDemoPages = 64;  ///< both sides of a guest of 64 MiB

class HugetlbDemo : public testing::TestWithParam<DemoCase> {};

TEST_P(HugetlbDemo, CompletesVerified) {
  GODWIT_NEED_HUGE_PAGES(pool, kDemoPages);
  run_demo_case(GetParam(), "64MiB");
}

std::vector<DemoCase> cases() {
  std::vector<DemoCase> all;
  for (const auto* mode : {"hybrid", "precopy", "postcopy", "stop-and-copy"}) {
    for (const auto* guest : {"kvm", "process"}) {
      all.push_back({mode, guest, 1, "random-write", "hugetlb"});
      all.push_back({mode, guest, 2, "random-read", "hugetlb", "auto", 2, "poll"});
    }
  }
  all.push_back({"hybrid", "kvm", 2, "random-write", "hugetlb", "ring", 4});
  all.push_back({"hybrid", "process", 2, "random-write", "hugetlb", "wp-async", 4});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Modes, HugetlbDemo, testing::ValuesIn(cases()), name_of);

TEST(Hugetlb, HolesStayHoles) {
  GODWIT_NEED_HUGE_PAGES(pool, kDemoPages);
  for (const auto* mode : {"hybrid", "precopy", "postcopy"}) {
    const auto ran = run(fmt::format(
        "demo --json --memory 64MiB --populated 16MiB --working-set 8MiB --guest process "
        "--workload random-write --backing hugetlb --mode {}",
        mode));
    ASSERT_EQ(ran.code, 0) << ran.all();
    EXPECT_EQ(ran.json["pages"]["populated"], 4096) << mode;
    expect_verified(ran.json);
  }
}

TEST(Hugetlb, PlantedFaultsAreCaught) {
  GODWIT_NEED_HUGE_PAGES(pool, kDemoPages);
  const std::pair<const char*, int> faults[] = {
      {"flip-bit", 1}, {"flip-bit --no-checksum", 4}, {"drop-page", 4}, {"stale-page", 4}};
  for (const auto& [fault, code] : faults) {
    const auto ran = run(
        fmt::format("demo --json --memory 64MiB --guest process --workload random-write --backing "
                    "hugetlb --inject {}",
                    fault));
    EXPECT_EQ(ran.code, code) << fault << "\n" << ran.all();
  }
}

void leaves(const std::string& control, const Receiver& to, const char* mode) {
  const auto ran = run(
      fmt::format("migrate --json --control {} --to {} --mode {}", control, to.address(), mode));
  ASSERT_EQ(ran.code, 0) << ran.all();
  const auto swept = ask(to.control(), "sweep");
  ASSERT_TRUE(swept.is_object() && swept.contains("sweep")) << json_text(swept);
  EXPECT_EQ(swept["sweep"]["pages_checked"], swept["sweep"]["pages_expected"]);
  EXPECT_EQ(swept["sweep"]["mismatches"], 0);
  EXPECT_EQ(swept["telemetry"]["guest_errors"], 0);
}

// What a guest has received and not touched since must leave with it; and the kinds of memory mix.
TEST(Hugetlb, LeavesATargetAgainAndChangesTheKindOfMemory) {
  GODWIT_NEED_HUGE_PAGES(pool, kDemoPages);
  const TemporaryDirectory directory;
  Receiver second(directory, "second");
  Receiver third(directory, "third", "--backing memfd");
  Receiver fourth(directory, "fourth", "--backing hugetlb");
  ASSERT_TRUE(second.listens() && third.listens() && fourth.listens());
  Process guest(
      fmt::format("run --control {} --guest process --memory 32MiB --working-set 1MiB "
                  "--workload random-write --backing hugetlb",
                  directory.at("guest")));
  guest.first_line();
  ASSERT_TRUE(ask(directory.at("guest"), "filled").is_object());
  const auto hop = [](const std::string& control, const Receiver& to, const char* mode) {
    const auto ran = run(
        fmt::format("migrate --json --control {} --to {} --mode {}", control, to.address(), mode));
    ASSERT_EQ(ran.code, 0) << ran.all();
  };
  hop(directory.at("guest"), second, "precopy");  // no sweep here: it would touch every page
  hop(second.control(), third, "hybrid");
  leaves(third.control(), fourth, "hybrid");
  EXPECT_EQ(guest.wait(), 0) << guest.err();
  EXPECT_EQ(second.process().wait(), 0) << second.process().err();
  EXPECT_EQ(third.process().wait(), 0) << third.process().err();
  fourth.stop();
  nothing_is_left(directory);
}

TEST(Hugetlb, ATargetWithoutEnoughHugePagesRefusesBeforeAnyPageMoves) {
  GODWIT_NEED_HUGE_PAGES(pool, 1);
  const TemporaryDirectory directory;
  // More than there are, by one.
  const auto mib = 2 * (HugePages::available() + 1);
  Receiver target(directory, "target", "--backing hugetlb");
  ASSERT_TRUE(target.listens());
  Process guest(
      fmt::format("run --control {} --guest process --memory {}MiB --populated 8MiB "
                  "--working-set 1MiB",
                  directory.at("guest"),
                  std::max<std::uint64_t>(mib, 16)));
  guest.first_line();
  for (const auto* mode : {"precopy", "hybrid"}) {
    const auto ran = run(fmt::format("migrate --json --control {} --to {} --mode {}",
                                     directory.at("guest"),
                                     target.address(),
                                     mode));
    EXPECT_EQ(ran.code, 1) << ran.all();
    EXPECT_EQ(ran.error("code"), "refused") << ran.all();
    EXPECT_THAT(ran.error("message"), testing::HasSubstr("nr_hugepages"));
    EXPECT_EQ(ran.json["bytes"]["page_payload"], 0);
  }
  target.stop();
  EXPECT_EQ(run("stop --control " + directory.at("guest")).code, 0);
  EXPECT_EQ(guest.wait(), 0);
  nothing_is_left(directory);
}

}  // namespace
}  // namespace godwit::test
