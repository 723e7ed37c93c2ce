// Links that are lost after COMMIT, as an operator meets them: real processes, and a relay between
// them that fails.

#include <signal.h>
#include <unistd.h>

#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/guest_under_test.h"
#include "support/relay.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;

const std::string kDemo =
    "demo --json --guest process --memory 64MiB --workload random-write --mode postcopy ";

TEST(RecoveryDemo, AnOutageAfterTheSwitchIsOvercome) {
  for (const auto* more : {"", "--channels 4", "--backing anonymous", "--transport poll"}) {
    const auto ran = run(kDemo + "--inject outage=300ms " + more);
    ASSERT_EQ(ran.code, 0) << more << ran.all();
    EXPECT_EQ(ran.json["recovery"]["count"], 1) << more;
    EXPECT_GE(ran.json["recovery"]["paused_ns"].get<std::int64_t>(), 300'000'000);
    EXPECT_EQ(ran.json["verified"]["mismatches"], 0);
    EXPECT_EQ(ran.json["pages"]["sent_twice_after_switch"], 0);
    EXPECT_EQ(ran.json["injected"]["kind"], "outage");
  }
}

TEST(RecoveryDemo, WithoutAnOutageNothingIsCounted) {
  const auto ran = run(kDemo);
  ASSERT_EQ(ran.code, 0) << ran.all();
  EXPECT_EQ(ran.json["recovery"]["count"], 0);
  EXPECT_EQ(ran.json["recovery"]["resent_pages"], 0);
  EXPECT_EQ(ran.json["recovery"]["paused_ns"], 0);
}

TEST(RecoveryDemo, ADamagedPageAfterTheSwitchIsAskedForAgain) {
  const auto again = run(kDemo + "--inject flip-bit");
  EXPECT_EQ(again.code, 0) << again.all();
  EXPECT_EQ(again.json["recovery"]["count"], 1);
  EXPECT_EQ(again.json["verified"]["mismatches"], 0);
  const auto held = run(kDemo + "--inject flip-bit --recover-for 0s");
  EXPECT_EQ(held.code, 5) << held.all();
  EXPECT_EQ(held.error("code"), "checksum") << held.all();
}

TEST(RecoveryDemo, ACutIsForGoodUnlessTheUserSaysOtherwise) {
  const auto held = run(kDemo + "--inject cut-after-commit");
  EXPECT_EQ(held.code, 5) << held.all();
  const auto back = run(kDemo + "--inject cut-after-commit --recover-for 60s");
  EXPECT_EQ(back.code, 0) << back.all();
  EXPECT_EQ(back.json["recovery"]["count"], 1);
}

TEST(RecoveryDemo, AnOutageThatOutlastsThePatienceHoldsBothSides) {
  const auto ran = run(kDemo + "--inject outage=600s --recover-for 200ms");
  EXPECT_EQ(ran.code, 5) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "in_doubt");
}

/// Two processes with a relay between them. Committed, and far from the end: the target still needs
/// 16 MiB, at 8 MiB a second.
class RecoveryCommand : public testing::Test {
 protected:
  void TearDown() override { nothing_is_left(directory_); }
  static constexpr const char* kSlowly = "--mode postcopy --max-bandwidth 8MiB ";

  bool reaches(const std::string& phase) {
    return eventually([&] { return target_.status().value("phase", "") == phase; });
  }
  void expect_arrived(Process& migration) {
    const auto ran = outcome_of(migration);
    EXPECT_EQ(ran.code, 0) << ran.all();
    EXPECT_GE(ran.json["recovery"]["count"], 1) << ran.all();
    EXPECT_EQ(guest_.process().wait(), 0) << guest_.process().err();
    const auto swept = ask(target_.control(), "sweep");
    EXPECT_EQ(swept["sweep"]["mismatches"], 0) << json_text(swept);
    EXPECT_EQ(swept["sweep"]["pages_checked"], swept["sweep"]["pages_expected"]);
    target_.stop();
  }

  TemporaryDirectory directory_;
  GuestUnderTest guest_{directory_};
  Receiver target_{directory_, "target"};
  Relay relay_{target_.port()};
};

TEST_F(RecoveryCommand, ALinkThatBreaksTwiceComesBackByItself) {
  Process migration(guest_.migrate_line(relay_.address(), kSlowly));
  for (int turn = 0; turn < 2; ++turn) {
    ASSERT_TRUE(reaches("running"));
    const auto missing = target_.status().value("missing_pages", std::uint64_t{0});
    ASSERT_TRUE(eventually(
        [&] { return target_.status().value("missing_pages", std::uint64_t{0}) + 200 < missing; }));
    relay_.cut();
  }
  expect_arrived(migration);
}

TEST_F(RecoveryCommand, ALinkThatFallsSilentIsTakenForLostAndDialledUntilItSpeaks) {
  Process migration(guest_.migrate_line(relay_.address(), std::string(kSlowly) + "--stall 300ms"));
  ASSERT_TRUE(reaches("running"));
  relay_.set_silent(true);
  ASSERT_TRUE(eventually([&] {
    return guest_.status().value("phase", "") == "reconnecting" ||
           guest_.status().value("phase", "") == "resync";
  })) << json_text(guest_.status());
  EXPECT_EQ(guest_.status().value("state", ""), "migrating");
  EXPECT_EQ(target_.status().value("state", ""), "running") << "on what it has";
  const auto refused = run("cancel --control " + guest_.control());
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("committed"));
  relay_.cut();
  relay_.set_silent(false);
  expect_arrived(migration);
}

TEST_F(RecoveryCommand, ATargetThatStandsStillIsWaitedFor) {
  Process migration(guest_.migrate_line(target_.address(), std::string(kSlowly) + "--stall 300ms"));
  ASSERT_TRUE(reaches("running"));
  target_.process().signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return guest_.status().value("phase", "") == "resync"; }))
      << json_text(guest_.status());
  target_.process().signal(SIGCONT);
  expect_arrived(migration);
}

TEST_F(RecoveryCommand, AHeldMigrationIsTakenUpByHandAtAnotherAddress) {
  auto relay = std::make_unique<Relay>(target_.port());
  Process migration(
      guest_.migrate_line(relay->address(), std::string(kSlowly) + "--recover-for 100ms"));
  const auto none = run("recover --control " + guest_.control());
  EXPECT_EQ(none.code, 1) << none.all();
  ASSERT_TRUE(reaches("running"));
  relay.reset();
  const auto held = outcome_of(migration);
  EXPECT_EQ(held.code, 5) << held.all();
  EXPECT_EQ(held.json["outcome"], "in_doubt");
  EXPECT_EQ(guest_.status().value("state", ""), "held");
  const auto missing = target_.status().value("missing_pages", std::uint64_t{0});
  EXPECT_GT(missing, 0U);
  const auto still = run(fmt::format("recover --json --control {}", guest_.control()));
  EXPECT_EQ(still.code, 5) << still.all();
  Process back(
      fmt::format("recover --json --control {} --to {}", guest_.control(), target_.address()));
  expect_arrived(back);
}

// The target is dead, and an operator says so.
TEST_F(RecoveryCommand, AFenceRunsTheGuestOnAtItsSource) {
  const auto resume = "resume --control " + guest_.control();
  EXPECT_EQ(run(resume + " --fence --yes").code, 1) << "there is nothing to fence";
  Process migration(guest_.migrate_line(target_.address(), kSlowly));
  ASSERT_TRUE(reaches("running"));
  const auto alive = run(resume + " --fence --yes");
  EXPECT_EQ(alive.code, 1) << "the link is there: " << alive.all();
  target_.process().signal(SIGKILL);
  ASSERT_TRUE(eventually([&] { return guest_.status().value("phase", "") == "reconnecting"; }));
  const auto without = run(resume);
  EXPECT_EQ(without.code, 1);
  EXPECT_THAT(without.err, HasSubstr("may be running the guest"));
  const auto unread = run(resume + " --fence");
  EXPECT_EQ(unread.code, 1);
  EXPECT_THAT(unread.err, HasSubstr("what it has done at the target since is lost"));
  EXPECT_EQ(guest_.status().value("state", ""), "migrating");
  const auto fenced = run(resume + " --fence --yes");
  EXPECT_EQ(fenced.code, 0) << fenced.all();
  EXPECT_EQ(outcome_of(migration).code, 5) << "nobody knew when it ended";
  EXPECT_EQ(guest_.status().value("state", ""), "running");
  EXPECT_THAT(guest_.process().err(), HasSubstr("audit: the guest was resumed here"));
  target_.process().wait();
  ::unlink(target_.control().c_str());
  guest_.goes_on_and_leaves();
}

TEST_F(RecoveryCommand, ASourceThatIsToldToEndGivesUpDialling) {
  Process migration(guest_.migrate_line(relay_.address(), kSlowly));
  ASSERT_TRUE(reaches("running"));
  relay_.set_silent(true);
  relay_.cut();
  // The relay's listener still takes connections, and nobody answers them.
  ASSERT_TRUE(eventually([&] { return guest_.status().value("phase", "") == "resync"; }));
  guest_.process().signal(SIGTERM);
  const auto ran = outcome_of(migration);
  EXPECT_EQ(ran.code, 5) << ran.all();
  guest_.process().wait();
  target_.process().signal(SIGTERM);
  EXPECT_EQ(target_.process().wait(), 5) << "the guest was lost with it";
}

}  // namespace
}  // namespace godwit::test
