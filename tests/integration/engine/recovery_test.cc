#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "godwit/base/random.h"

#include "cut_transport.h"
#include "in_process.h"

// A link that is lost after the decision to commit, at chosen frames and at many moments: the
// migration goes on by itself, and the guest finds every page.

namespace godwit::test {
namespace {

constexpr std::int64_t kPatienceNs = 600'000'000'000;
constexpr std::uint64_t kMemory = 64 * kMiB;

engine::SourceOptions recovering() {
  engine::SourceOptions options;
  options.recover_for_ns = 60'000'000'000;
  return options;
}

/// Slow enough that there is a post-copy to lose links in.
engine::SourceOptions slow_postcopy() {
  auto options = recovering();
  options.mode = engine::Mode::kPostcopy;
  options.max_bandwidth = 64 * kMiB;
  return options;
}

engine::TargetOptions waiting() {
  engine::TargetOptions options;
  options.recovers = true;
  return options;
}

/// One migration of a process guest inside this process, over a link that can be lost.
class Recovery : public testing::Test {
 protected:
  void boot(vmm::Backing backing = vmm::Backing::kMemfd) {
    vmm::GuestConfig config;
    config.kind = vmm::GuestKind::kProcess;
    config.memory_bytes = kMemory;
    config.populated_bytes = 48 * kMiB;
    config.working_set_bytes = 32 * kMiB;
    config.workload = vmm::Workload::kRandomWrite;
    config.backing = backing;
    auto made = vmm::make_guest(config, {});
    ASSERT_TRUE(made) << made.error().message();
    guest_ = std::move(*made);
    ASSERT_TRUE(guest_->boot());
    while (!guest_->filled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    listener_ = std::move(*net::make_listener(net::LoopKind::kPoll, {}));
    const auto peer = net::parse_endpoint(listener_->address());
    ASSERT_TRUE(peer);
    inside_ = std::move(*net::make_transport(net::LoopKind::kPoll, {.peer = *peer}));
    link_ = std::make_unique<CutTransport>(*inside_);
  }

  void start(const engine::SourceOptions& options, const engine::TargetOptions& target_options) {
    target_ = std::make_unique<engine::TargetSession>(host_, *listener_, *inside_, target_options);
    source_ = std::make_unique<engine::SourceSession>(*guest_, *link_, options);
    target_->start();
    source_->start();
  }

  /// Waits until the source is in `state` and at most `pages` are left to be sent; false when it has
  /// ended before.
  bool reach(engine::SourceState state, std::uint64_t pages = UINT64_MAX) {
    while (source_->state() != state || source_->progress().remaining_pages > pages) {
      if (source_->ended()) {
        return false;
      }
      std::this_thread::yield();
    }
    return true;
  }

  void expect_whole() {
    const auto& report = source_->wait();
    EXPECT_EQ(report.outcome, engine::Outcome::kCompleted)
        << (report.error ? report.error->error.message() : "");
    if (report.outcome != engine::Outcome::kCompleted) {
      target_->abandon();
    }
    ASSERT_EQ(target_->wait(), engine::TargetState::kCompleted);
    std::unique_ptr<vmm::Guest> arrived(static_cast<vmm::Guest*>(target_->take_guest().release()));
    const auto sweep = arrived->sweep(Deadline::after_ns(kPatienceNs));
    ASSERT_TRUE(sweep) << sweep.error().message();
    EXPECT_EQ(sweep->mismatches, 0U);
    EXPECT_EQ(sweep->pages_checked, sweep->pages_expected);
    const auto told = arrived->telemetry();
    EXPECT_EQ(told.guest_errors, 0U) << told.first_error;
    EXPECT_EQ(told.step_holes, 0U);
    EXPECT_EQ(report.pages_sent_twice, 0U);
    EXPECT_FALSE(report.error);
    // What the sockets of a link hold at once: the bulk channel's buffers at both ends, the frame in
    // the lane's hands, and what the urgent channel carries.
    constexpr std::uint64_t kInFlight = 1024;
    EXPECT_LE(report.recovery.resent_pages,
              kInFlight * std::max<std::uint64_t>(1, report.recovery.count));
  }

  PlainHost host_;
  std::unique_ptr<vmm::Guest> guest_;
  std::unique_ptr<engine::Listener> listener_;
  std::unique_ptr<engine::Transport> inside_;
  std::unique_ptr<CutTransport> link_;
  std::unique_ptr<engine::TargetSession> target_;
  std::unique_ptr<engine::SourceSession> source_;
};

/// Judges one frame of a type, once.
CutTransport::Judge once(wire::MessageType type, Fate fate) {
  return [type, fate, done = false](wire::MessageType seen) mutable {
    if (seen != type || std::exchange(done, true)) {
      return Fate::kPasses;
    }
    return fate;
  };
}

struct AtFrame {
  const char* name;
  wire::MessageType type;
  bool sent;  ///< by the source, else received there
  Fate fate;
};

class RecoveryAtFrame : public Recovery, public testing::WithParamInterface<AtFrame> {};

TEST_P(RecoveryAtFrame, GoesOnByItself) {
  boot();
  const auto judge = once(GetParam().type, GetParam().fate);
  if (GetParam().sent) {
    link_->judge_sent(judge);
  } else {
    link_->judge_received(judge);
  }
  start(recovering(), waiting());
  expect_whole();
  EXPECT_EQ(source_->wait().recovery.count, 1U);
}

INSTANTIATE_TEST_SUITE_P(
    Process,
    RecoveryAtFrame,
    testing::Values(
        AtFrame{"CommitIsLost", wire::MessageType::kCommit, true, Fate::kIsLostWithTheLink},
        AtFrame{"AfterCommit", wire::MessageType::kCommit, true, Fate::kPassesAndThenTheLinkIsLost},
        AtFrame{"RunningIsLost", wire::MessageType::kRunning, false, Fate::kIsLostWithTheLink},
        AtFrame{
            "AfterRunning", wire::MessageType::kRunning, false, Fate::kPassesAndThenTheLinkIsLost},
        AtFrame{"CompleteIsLost", wire::MessageType::kComplete, false, Fate::kIsLostWithTheLink}),
    [](const auto& param) { return param.param.name; });

// The source has not decided and never will: its guest goes on, and the target is told.
TEST_F(Recovery, ALinkThatIsLostWithReadyLeavesNoTargetInDoubt) {
  boot();
  link_->judge_received(once(wire::MessageType::kReady, Fate::kIsLostWithTheLink));
  start(recovering(), waiting());
  EXPECT_EQ(source_->wait().outcome, engine::Outcome::kFailed);
  EXPECT_EQ(source_->state(), engine::SourceState::kRolledBack);
  EXPECT_EQ(target_->wait(), engine::TargetState::kCancelled);
  EXPECT_EQ(source_->wait().recovery.count, 0U);
  const auto sweep = guest_->sweep(Deadline::after_ns(kPatienceNs));
  ASSERT_TRUE(sweep);
  EXPECT_EQ(sweep->mismatches, 0U);
}

TEST_F(Recovery, ATargetThatCannotBeToldWaitsAndTheSourceDoesNot) {
  boot();
  auto options = recovering();
  options.timeout_ns = 300'000'000;
  link_->judge_received([this](wire::MessageType type) {
    if (type != wire::MessageType::kReady) {
      return Fate::kPasses;
    }
    link_->set_down(true);
    return Fate::kIsLostWithTheLink;
  });
  start(options, waiting());
  EXPECT_EQ(source_->wait().outcome, engine::Outcome::kFailed);
  EXPECT_GT(link_->attempts_while_down(), 0U);
  EXPECT_EQ(target_->state(), engine::TargetState::kUndecided);
  target_->abandon();
  EXPECT_EQ(target_->wait(), engine::TargetState::kInDoubt);
}

struct Moments {
  const char* name;
  std::uint32_t channels;
  unsigned cuts;
  vmm::Backing backing;
};

class RecoveryAtMoment : public Recovery, public testing::WithParamInterface<Moments> {};

TEST_P(RecoveryAtMoment, GoesOnByItselfHoweverOften) {
  boot(GetParam().backing);
  auto options = slow_postcopy();
  options.channels = GetParam().channels;
  start(options, waiting());
  ASSERT_TRUE(reach(engine::SourceState::kPostcopy));
  const auto all = source_->progress().remaining_pages;
  unsigned cuts = 0;
  for (unsigned cut = 1; cut <= GetParam().cuts; ++cut) {
    if (!reach(engine::SourceState::kPostcopy, all - all * cut / (GetParam().cuts + 1))) {
      break;
    }
    link_->cut();
    ++cuts;
    while (!source_->ended() && source_->state() == engine::SourceState::kPostcopy) {
      std::this_thread::yield();
    }
  }
  expect_whole();
  EXPECT_EQ(source_->wait().recovery.count, cuts);
  EXPECT_EQ(cuts, GetParam().cuts);
  EXPECT_GT(source_->wait().recovery.paused_ns, 0);
}

INSTANTIATE_TEST_SUITE_P(Process,
                         RecoveryAtMoment,
                         testing::Values(Moments{"Once", 1, 1, vmm::Backing::kMemfd},
                                         Moments{"FiveTimes", 1, 5, vmm::Backing::kMemfd},
                                         Moments{"FourChannels", 4, 3, vmm::Backing::kMemfd},
                                         Moments{"Anonymous", 2, 3, vmm::Backing::kAnonymous}),
                         [](const auto& param) { return param.param.name; });

// Moments of chance, once and three times in a row. GODWIT_RECOVERY_SEEDS says how many (6).
TEST_F(Recovery, MomentsOfChance) {
  const auto* wanted = std::getenv("GODWIT_RECOVERY_SEEDS");
  const auto seeds = wanted == nullptr ? 6UL : std::strtoul(wanted, nullptr, 10);
  std::uint64_t lost = 0;
  std::uint64_t resent = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(seed);
    SplitMix64 random(seed);
    boot();
    auto options = recovering();
    options.mode = random.below(2) == 0 ? engine::Mode::kPostcopy : engine::Mode::kHybrid;
    options.channels = 1 + static_cast<std::uint32_t>(random.below(3));
    options.max_bandwidth = 96 * kMiB;
    start(options, waiting());
    const auto cuts = seed % 2 == 0 ? 3 : 1;
    for (int cut = 0; cut < cuts && reach(engine::SourceState::kPostcopy); ++cut) {
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(150'000)));
      link_->cut();
    }
    expect_whole();
    lost += source_->wait().recovery.count;
    resent += source_->wait().recovery.resent_pages;
    source_.reset();
    target_.reset();
    link_.reset();
    inside_.reset();
    listener_.reset();
    guest_.reset();
  }
  fmt::print("{} migrations, {} links lost and taken up again, {} pages sent again\n",
             seeds,
             lost,
             resent);
}

TEST_F(Recovery, ALinkThatStaysDownForAWhileIsDialledUntilItIsBack) {
  boot();
  start(slow_postcopy(), waiting());
  ASSERT_TRUE(reach(engine::SourceState::kPostcopy));
  link_->set_down(true);
  link_->cut();
  ASSERT_TRUE(reach(engine::SourceState::kReconnecting));
  while (link_->attempts_while_down() < 20) {
    std::this_thread::yield();
  }
  // The guest runs on what it has, and the target says that it waits.
  EXPECT_EQ(target_->state(), engine::TargetState::kReconnecting);
  EXPECT_GT(target_->missing_pages(), 0U);
  EXPECT_FALSE(source_->request_cancel()) << "the decision stands";
  link_->set_down(false);
  expect_whole();
  EXPECT_EQ(source_->wait().recovery.count, 1U);
}

TEST_F(Recovery, WhoGivesUpHoldsAndAnOperatorCanTryAgain) {
  boot();
  auto options = slow_postcopy();
  options.recover_for_ns = 50'000'000;
  start(options, waiting());
  ASSERT_TRUE(reach(engine::SourceState::kPostcopy));
  link_->set_down(true);
  link_->cut();
  EXPECT_EQ(source_->wait().outcome, engine::Outcome::kInDoubt);
  EXPECT_EQ(source_->state(), engine::SourceState::kSuspended);
  ASSERT_TRUE(source_->wait().error);
  EXPECT_EQ(source_->wait().error->phase, "postcopy") << "what broke it, not what ended the wait";
  EXPECT_FALSE(target_->ended()) << "its source may still come";
  ASSERT_TRUE(source_->recover());
  EXPECT_EQ(source_->wait().outcome, engine::Outcome::kInDoubt) << "still down";
  link_->set_down(false);
  ASSERT_TRUE(source_->recover());
  EXPECT_FALSE(source_->recover()) << "one at a time";
  expect_whole();
}

TEST_F(Recovery, AFencedSourceRunsItsGuestOnAsItWasWhenItStopped) {
  boot();
  auto options = slow_postcopy();
  options.recover_for_ns = 50'000'000;
  start(options, waiting());
  ASSERT_TRUE(reach(engine::SourceState::kPostcopy));
  link_->set_down(true);
  link_->cut();
  EXPECT_EQ(source_->wait().outcome, engine::Outcome::kInDoubt);
  target_->abandon();  // it is dead
  EXPECT_EQ(target_->wait(), engine::TargetState::kSuspended);
  const auto fenced = source_->resume_fenced();
  ASSERT_TRUE(fenced);
  EXPECT_TRUE(*fenced);
  EXPECT_EQ(source_->state(), engine::SourceState::kRolledBack);
  EXPECT_FALSE(source_->recover());
  EXPECT_FALSE(*source_->resume_fenced()) << "once";
  source_.reset();
  const auto sweep = guest_->sweep(Deadline::after_ns(kPatienceNs));
  ASSERT_TRUE(sweep) << sweep.error().message();
  EXPECT_EQ(sweep->mismatches, 0U);
  EXPECT_EQ(guest_->telemetry().guest_errors, 0U);
}

TEST_F(Recovery, StopReconnectingEndsTheWaitAtOnce) {
  boot();
  start(slow_postcopy(), waiting());
  ASSERT_TRUE(reach(engine::SourceState::kPostcopy));
  link_->set_down(true);
  link_->cut();
  ASSERT_TRUE(reach(engine::SourceState::kReconnecting));
  source_->stop_reconnecting();
  EXPECT_EQ(source_->wait().outcome, engine::Outcome::kInDoubt);
  target_->abandon();
  EXPECT_EQ(target_->wait(), engine::TargetState::kSuspended);
}

// Recovery is both sides' wish.
TEST_F(Recovery, WithoutTheTargetsConsentBothHoldAtOnce) {
  boot();
  start(slow_postcopy(), {});
  ASSERT_TRUE(reach(engine::SourceState::kPostcopy));
  link_->cut();
  EXPECT_EQ(source_->wait().outcome, engine::Outcome::kInDoubt);
  EXPECT_EQ(target_->wait(), engine::TargetState::kSuspended);
  EXPECT_FALSE(source_->recover());
  target_->abandon();
}

// A link that is neither broken nor moves anything: the target's process stands still, say.
TEST_F(Recovery, ASilenceThatIsTooLongIsALostLink) {
  boot();
  auto options = slow_postcopy();
  options.stall_ns = 200'000'000;
  link_->judge_received(once(wire::MessageType::kComplete, Fate::kIsLost));
  start(options, waiting());
  expect_whole();
  EXPECT_EQ(source_->wait().recovery.count, 1U);
  EXPECT_EQ(source_->wait().recovery.resent_pages, 0U);
}

}  // namespace
}  // namespace godwit::test
