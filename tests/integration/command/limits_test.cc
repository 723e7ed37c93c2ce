// What limits a migration (bandwidth, downtime, time-out), and where each must not act. No absolute
// times: each figure is compared with what the limit itself would make of it.

#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "godwit/base/units.h"

#include "support/command/command.h"
#include "support/command/guest_under_test.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;

Outcome demo(const std::string& options) {
  return run("demo --json --guest process " + options);
}

void expect_completed(const Outcome& ran) {
  ASSERT_EQ(ran.code, 0) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "completed");
  EXPECT_EQ(ran.json["verified"]["mismatches"], 0);
  EXPECT_GT(ran.json["verified"]["pages_checked"], 0);
}

TEST(Limits, NoBlackoutIsLimited) {
  constexpr std::uint64_t kLimit = 8 * kMiB;
  const auto limited = fmt::format("--memory 16MiB --max-bandwidth {} ", kLimit);
  for (const auto* mode :
       {"--mode stop-and-copy",
        // The working set is written all the time, so that each round leaves all of it.
        "--mode precopy --working-set 8MiB --workload random-write --downtime-limit 1ms "
        "--max-rounds 1"}) {
    const auto ran = demo(limited + mode);
    expect_completed(ran);
    const auto& rounds = ran.json["rounds"];
    ASSERT_FALSE(rounds.empty());
    const auto in_blackout = rounds.back()["bytes"].get<std::uint64_t>();
    EXPECT_GT(in_blackout, kMiB) << mode;
    const auto throttled_ns = in_blackout * 1'000'000'000 / kLimit;
    EXPECT_LT(ran.json["downtime_ns"].get<std::uint64_t>(), throttled_ns / 2) << mode;
  }
}

TEST(Limits, ManyChannelsShareOneBudget) {
  constexpr std::uint64_t kLimit = 16 * kMiB;
  const auto ran = demo(fmt::format(
      "--memory 24MiB --channels 64 --max-bandwidth {} --mode precopy --workload idle", kLimit));
  expect_completed(ran);
  const auto& round = ran.json["rounds"][0];
  const auto rate = round["bytes"].get<double>() * 1e9 / round["ns"].get<double>();
  EXPECT_LT(rate, 1.2 * kLimit);
  EXPECT_GT(rate, 0.6 * kLimit) << "a fixed share of each channel leaves most of it unused";
}

/// Slower than a page in the time that is waited for progress: over every kind of connection.
TEST(Limits, ATinyLimitIsSlowAndNotDead) {
  for (const auto* address : {"tcp:127.0.0.1:0", "unix"}) {
    const TemporaryDirectory directory;
    const std::string at =
        std::string(address) == "unix" ? "unix:" + directory.at("s") : address;
    // Nearly all pages are zero; those that are not take 250 ms each.
    const auto ran = demo(fmt::format(
        "--memory 4MiB --populated 3200KiB --working-set 16KiB --fill zero --workload idle "
        "--mode precopy --max-bandwidth 16KiB --timeout 200ms --listen {}",
        at));
    expect_completed(ran);
  }
}

TEST(Limits, ZeroPagesDoNotHideWhatDataCosts) {
  const auto ran = demo(
      "--memory 512MiB --working-set 4MiB --rate 16MiB --workload random-write --fill zero "
      "--mode precopy --downtime-limit 300ms --on-no-convergence fail");
  expect_completed(ran);
  EXPECT_EQ(ran.json["switch"]["reason"], "fits") << ran.all();
  EXPECT_GE(ran.json["switch"]["expected_blackout_ns"], 0);
}

TEST(Limits, APrecopyThatNeverFitsSaysByHowMuch) {
  const auto ran = demo(
      "--memory 64MiB --working-set 32MiB --workload random-write --mode precopy "
      "--downtime-limit 1us --on-no-convergence fail");
  EXPECT_EQ(ran.code, 1) << ran.all();
  EXPECT_EQ(ran.error("code"), "not-converged");
  EXPECT_THAT(ran.error("message"), HasSubstr("pages a second are moved and"));
  EXPECT_THAT(ran.error("message"), HasSubstr("the blackout would take"));
  EXPECT_LT(ran.json["rounds"].size(), 30U) << "it need not try all its rounds to know";
}

TEST(Limits, SwitchOfAPrecopyIsRefusedWithItsPriceUnlessForced) {
  const TemporaryDirectory directory;
  GuestUnderTest guest(directory);
  Receiver target(directory, "target");
  Process migration(
      guest.migrate_line(target.address(), "--mode precopy --max-bandwidth 2MiB --max-rounds 2"));
  ASSERT_TRUE(eventually([&] { return guest.status().value("phase", "") == "precopy"; }));
  ASSERT_TRUE(eventually([&] { return guest.status().contains("expected_blackout_ns"); }));
  const auto refused = run("switch --control " + guest.control());
  EXPECT_EQ(refused.code, 1) << refused.all();
  EXPECT_THAT(refused.err, HasSubstr("the guest would stand still"));
  EXPECT_THAT(refused.err, HasSubstr("--force"));
  EXPECT_EQ(guest.status().value("state", ""), "migrating");
  EXPECT_EQ(run("switch --force --control " + guest.control()).code, 0);
  const auto ended = outcome_of(migration);
  EXPECT_EQ(ended.code, 0) << ended.all();
  EXPECT_EQ(ended.json["switch"]["reason"], "requested");
  EXPECT_EQ(ask(target.control(), "sweep")["sweep"]["mismatches"], 0);
  EXPECT_EQ(guest.process().wait(), 0);
  target.stop();
  nothing_is_left(directory);
}

}  // namespace
}  // namespace godwit::test
