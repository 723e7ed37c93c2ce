#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "godwit/net/poll_loop.h"
#include "godwit/net/ring_loop.h"

#include "unit/net/net_fixture.h"

namespace godwit::net {
namespace {

enum class Tested { kRing, kPlainRing, kPoll };

class LoopTest : public testing::TestWithParam<Tested> {
 protected:
  void SetUp() override {
    if (GetParam() == Tested::kPoll) {
      take(PollLoop::create());
    } else {
      GODWIT_NEED_URING();
      take(RingLoop::create(GetParam() == Tested::kRing ? RingMode::kAuto : RingMode::kPlain));
    }
  }
  template <typename Loop>
  void take(Result<std::unique_ptr<Loop>> made) {
    ASSERT_TRUE(made) << made.error().message();
    loop_ = std::move(*made);
  }
  std::unique_ptr<EventLoop> loop_;
};

INSTANTIATE_TEST_SUITE_P(Loops,
                         LoopTest,
                         testing::Values(Tested::kRing, Tested::kPlainRing, Tested::kPoll),
                         [](const auto& tested) {
                           return tested.param == Tested::kRing        ? "ring"
                                  : tested.param == Tested::kPlainRing ? "plain_ring"
                                                                       : "poll";
                         });

TEST_P(LoopTest, ReturnsAtTheDeadlineWhenNothingHappens) {
  const auto deadline = Deadline::after_ns(20'000'000);
  while (!deadline.passed()) {
    ASSERT_TRUE(loop_->run_once(deadline));
  }
  ASSERT_TRUE(loop_->run_once(Deadline{0}));  // polls
}

TEST_P(LoopTest, FiresAgainWhileADescriptorStaysReadable) {
  auto event = *EventFd::create();
  int fired = 0;
  ASSERT_TRUE(loop_->watch(event.fd(), [&] { fired += 1; }));
  event.signal();
  EXPECT_TRUE(run_until(*loop_, [&] { return fired == 3; }));
  event.clear();
  ASSERT_TRUE(loop_->run_once(Deadline{0}));
  const int then = fired;
  ASSERT_TRUE(loop_->run_once(Deadline::after_ns(5'000'000)));
  EXPECT_EQ(fired, then);
}

TEST_P(LoopTest, UnwatchesAndWatchesInsideCallbacks) {
  auto first = *EventFd::create();
  auto second = *EventFd::create();
  int first_fired = 0;
  int second_fired = 0;
  ASSERT_TRUE(loop_->watch(first.fd(), [&] {
    first_fired += 1;
    loop_->unwatch(first.fd());
    EXPECT_TRUE(loop_->watch(second.fd(), [&] {
      second_fired += 1;
      loop_->unwatch(second.fd());
      // The same descriptor from within its own callback, with a function that outlives this one.
      EXPECT_TRUE(loop_->watch(second.fd(), [&] { second_fired += 10; }));
    }));
  }));
  first.signal();
  second.signal();
  EXPECT_TRUE(run_until(*loop_, [&] { return second_fired >= 11; }));
  EXPECT_EQ(first_fired, 1);
}

TEST_P(LoopTest, UnwatchDropsAnEventThatHasArrivedAlready) {
  auto first = *EventFd::create();
  auto second = *EventFd::create();
  int fired = 0;
  const auto once = [&] {
    fired += 1;
    loop_->unwatch(first.fd());
    loop_->unwatch(second.fd());
  };
  ASSERT_TRUE(loop_->watch(first.fd(), once));
  ASSERT_TRUE(loop_->watch(second.fd(), once));
  first.signal();
  second.signal();
  EXPECT_TRUE(run_until(*loop_, [&] { return fired > 0; }));
  ASSERT_TRUE(loop_->run_once(Deadline{0}));
  EXPECT_EQ(fired, 1);
}

TEST_P(LoopTest, RefusesASecondWatchAndReportsABadDescriptor) {
  auto event = *EventFd::create();
  ASSERT_TRUE(loop_->watch(event.fd(), [] {}));
  EXPECT_EQ(loop_->watch(event.fd(), [] {}).error().code, ErrorCode::kState);
  ASSERT_TRUE(loop_->watch(1'000'000, [] {}));
  const auto status = loop_->run_once(Deadline::after_ns(kSecondNs));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().sys_errno, EBADF);
  EXPECT_TRUE(loop_->run_once(Deadline{0}));
}

TEST_P(LoopTest, HoldsMoreWatchesThanTheSubmissionQueue) {
  std::vector<EventFd> events;
  std::size_t fired = 0;
  for (int index = 0; index < 600; ++index) {
    events.push_back(*EventFd::create());
    const int fd = events.back().fd();
    ASSERT_TRUE(loop_->watch(fd, [&fired, fd, this] {
      ++fired;
      loop_->unwatch(fd);
    }));
    events.back().signal();
  }
  EXPECT_TRUE(run_until(*loop_, [&] { return fired == events.size(); }));
}

TEST_P(LoopTest, WakesFromAnotherThread) {
  std::atomic<bool> woken{false};
  std::jthread other([&] {
    // seq_cst on both sides: only orders the flag before the wake-up that makes it looked at.
    woken.store(true);
    loop_->wake();
  });
  EXPECT_TRUE(run_until(*loop_, [&] { return woken.load(); }));
}

TEST_P(LoopTest, WakeBeforeTheFirstRunIsKept) {
  loop_->wake();
  const auto started = monotonic_ns();
  ASSERT_TRUE(loop_->run_once(Deadline::after_ns(20 * kSecondNs)));
  EXPECT_LT(monotonic_ns() - started, 10 * kSecondNs);
}

TEST_P(LoopTest, RefusesASecondThreadAndNestedRuns) {
  auto event = *EventFd::create();
  bool refused = false;
  ASSERT_TRUE(loop_->watch(event.fd(), [&] {
    event.clear();
    refused = loop_->run_once(Deadline{0}).error().code == ErrorCode::kState;
  }));
  event.signal();
  EXPECT_TRUE(run_until(*loop_, [&] { return refused; }));
  std::jthread([&] {
    EXPECT_EQ(loop_->run_once(Deadline{0}).error().code, ErrorCode::kState);
  }).join();
}

TEST_P(LoopTest, IsDestroyedByAnotherThreadAfterItsOwnerEnded) {
  auto event = *EventFd::create();
  ASSERT_TRUE(loop_->watch(event.fd(), [] {}));
  std::jthread([&] { EXPECT_TRUE(loop_->run_once(Deadline{0})); }).join();
  loop_->unwatch(event.fd());
  loop_.reset();
}

}  // namespace
}  // namespace godwit::net
