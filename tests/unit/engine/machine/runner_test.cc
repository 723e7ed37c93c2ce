#include "machine/runner.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

enum class ToyState : std::uint8_t { kNew = 1, kBusy, kIdle, kDone, kBroken };
enum class ToyEvent : std::uint8_t { kBegin = 1, kRest, kWork, kFinish, kTimeout, kLocalError };

std::string_view to_string(ToyState state) {
  constexpr std::array kNames = {"", "new", "busy", "idle", "done", "broken"};
  return kNames.at(static_cast<std::size_t>(state));
}
std::string_view to_string(ToyEvent event) {
  constexpr std::array kNames = {"", "begin", "rest", "work", "finish", "timeout", "local-error"};
  return kNames.at(static_cast<std::size_t>(event));
}

struct ToyTransition {
  ToyState from;
  ToyEvent event;
  ToyState to;
  std::uint32_t actions;
};

/// A machine with a beginning, two states to go between, and two ends.
class Toy {
 public:
  const ToyTransition* on(ToyEvent event) {
    using S = ToyState;
    using E = ToyEvent;
    static constexpr std::array kTable = {
        ToyTransition{S::kNew, E::kBegin, S::kBusy, 1},
        ToyTransition{S::kNew, E::kLocalError, S::kBroken, 0},
        ToyTransition{S::kBusy, E::kRest, S::kIdle, 2},
        ToyTransition{S::kIdle, E::kWork, S::kBusy, 4},
        ToyTransition{S::kBusy, E::kWork, S::kBusy, 4},
        ToyTransition{S::kBusy, E::kFinish, S::kDone, 8},
        ToyTransition{S::kBusy, E::kTimeout, S::kBroken, 16},
        ToyTransition{S::kBusy, E::kLocalError, S::kBroken, 16},
        ToyTransition{S::kIdle, E::kLocalError, S::kBroken, 16},
    };
    for (const auto& row : kTable) {
      if (row.from == state_ && row.event == event) {
        state_ = row.to;
        return &row;
      }
    }
    return nullptr;
  }
  [[nodiscard]] ToyState state() const { return state_; }
  [[nodiscard]] bool ended() const { return state_ >= ToyState::kDone; }

 private:
  ToyState state_ = ToyState::kNew;
};

/// A loop that returns at once, and says what it was asked.
class CountingLoop : public EventLoop {
 public:
  explicit CountingLoop(std::vector<std::int64_t>& deadlines, int* wakes = nullptr)
      : deadlines_(deadlines), wakes_(wakes) {}
  Status watch(int /*fd*/, std::function<void()> /*on_readable*/) override { return {}; }
  void unwatch(int /*fd*/) override {}
  Status run_once(Deadline deadline) override {
    deadlines_.push_back(deadline.at_ns);
    if (deadlines_.size() > 1000) {
      return fail(ErrorCode::kIo, "poll", "for ever");
    }
    return {};
  }
  void wake() override {
    if (wakes_ != nullptr) {
      ++*wakes_;
    }
  }

 private:
  std::vector<std::int64_t>& deadlines_;
  int* wakes_;
};

class Runner : public testing::Test {
 protected:
  using ToyRunner = MachineRunner<Toy>;
  ToyRunner make() {
    return ToyRunner("toy",
                     {.perform =
                          [this](const ToyTransition& row) {
                            performed.push_back(row.actions);
                            if (on_perform) {
                              on_perform(row);
                            }
                          },
                      .look_around =
                          [this] {
                            ++looks;
                            if (on_look) {
                              on_look();
                            }
                          },
                      .patience_ns = [this] { return patience_ns; },
                      .pages_moved_ns = [this] { return pages_moved_ns; },
                      .on_illegal = [](ToyState state, ToyEvent event) -> std::optional<ToyEvent> {
                        return event == ToyEvent::kFinish && state == ToyState::kIdle
                                   ? std::optional(ToyEvent::kLocalError)
                                   : std::nullopt;
                      }});
  }
  std::vector<std::uint32_t> performed;
  std::function<void(const ToyTransition&)> on_perform;
  std::function<void()> on_look;
  std::optional<std::int64_t> patience_ns;
  std::int64_t pages_moved_ns = 0;
  int looks = 0;
  std::vector<std::int64_t> deadlines;
};

TEST_F(Runner, CarriesOutTheRowsOfItsEventsInOrderAndStopsAtTheEnd) {
  auto runner = make();
  on_perform = [&](const ToyTransition& row) {
    if (row.event == ToyEvent::kWork) {
      runner.push(ToyEvent::kFinish);
    }
  };
  for (const auto event : {ToyEvent::kBegin, ToyEvent::kRest, ToyEvent::kWork}) {
    runner.push(event);
  }
  runner.run();
  EXPECT_EQ(performed, (std::vector<std::uint32_t>{1, 2, 4, 8}));
  EXPECT_EQ(runner.state(), ToyState::kDone);
  EXPECT_EQ(looks, 0) << "nothing was waited for";
  runner.push(ToyEvent::kWork);
  runner.fire_all();
  EXPECT_EQ(performed.size(), 4U) << "an ended machine takes nothing";
  EXPECT_FALSE(runner.error());
}

TEST_F(Runner, KeepsTheCourseOfTheStates) {
  auto runner = make();
  for (const auto event :
       {ToyEvent::kBegin, ToyEvent::kWork, ToyEvent::kRest, ToyEvent::kWork, ToyEvent::kFinish}) {
    runner.push(event);
  }
  runner.run();
  std::vector<std::string> names;
  std::int64_t before = 0;
  for (const auto& state : runner.take_states()) {
    names.emplace_back(state.name);
    EXPECT_GE(state.began_ns, before);
    before = state.began_ns;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"busy", "idle", "busy", "done"}));
}

TEST_F(Runner, WhatNeverBeganHasNoCourse) {
  auto runner = make();
  runner.note_error(make_error(ErrorCode::kNoMemory, "thread"));
  runner.push(ToyEvent::kLocalError);
  runner.run();
  EXPECT_EQ(runner.state(), ToyState::kBroken);
  EXPECT_TRUE(runner.take_states().empty());
  EXPECT_EQ(runner.error()->phase, "new");
}

TEST_F(Runner, TheFirstErrorIsKeptWithItsState) {
  auto runner = make();
  runner.push(ToyEvent::kBegin);
  runner.fire_all();
  runner.note_error(make_error(ErrorCode::kClosed, "link", "first"), "far side");
  runner.note_error(make_error(ErrorCode::kIo, "link", "second"));
  runner.keep_error({make_error(ErrorCode::kIo, "link", "third"), "toy", "idle"});
  ASSERT_TRUE(runner.error());
  EXPECT_EQ(runner.error()->error.detail, "first");
  EXPECT_EQ(runner.error()->side, "far side");
  EXPECT_EQ(runner.error()->phase, "busy");
}

TEST_F(Runner, AnEventThatIsNotLegalEndsItOrMeansNothing) {
  auto runner = make();
  for (const auto event : {ToyEvent::kBegin, ToyEvent::kBegin, ToyEvent::kRest}) {
    runner.push(event);
  }
  runner.fire_all();
  EXPECT_EQ(runner.state(), ToyState::kIdle) << "the second begin means nothing";
  EXPECT_FALSE(runner.error());
  runner.push(ToyEvent::kFinish);
  runner.fire_all();
  EXPECT_EQ(runner.state(), ToyState::kBroken);
  ASSERT_TRUE(runner.error());
  EXPECT_EQ(runner.error()->error.message(), "message: finish is not legal in phase idle");
}

TEST_F(Runner, EndsWhenNothingHasProgressedForItsPatience) {
  auto runner = make();
  runner.open_loop(std::make_unique<CountingLoop>(deadlines));
  patience_ns = 0;
  runner.push(ToyEvent::kBegin);
  runner.run();
  EXPECT_EQ(runner.state(), ToyState::kBroken);
  EXPECT_EQ(performed.back(), 16U);
  ASSERT_TRUE(runner.error());
  EXPECT_EQ(runner.error()->error.code, ErrorCode::kTimeout);
  EXPECT_EQ(runner.error()->error.message(), "deadline: no progress for 0 ms in phase busy");
}

TEST_F(Runner, PagesThatMoveAreProgress) {
  auto runner = make();
  runner.open_loop(std::make_unique<CountingLoop>(deadlines));
  patience_ns = 0;
  pages_moved_ns = INT64_MAX / 2;  // in the future: once is enough
  on_look = [&] {
    if (looks == 20) {
      runner.push(ToyEvent::kFinish);
    }
  };
  runner.push(ToyEvent::kBegin);
  runner.run();
  EXPECT_EQ(runner.state(), ToyState::kDone);
}

TEST_F(Runner, WaitsWithoutLimitWhereThereIsNoPatience) {
  auto runner = make();
  runner.open_loop(std::make_unique<CountingLoop>(deadlines));
  on_look = [&] {
    if (looks == 3) {
      runner.push(ToyEvent::kFinish);
    }
  };
  runner.push(ToyEvent::kBegin);
  runner.run();
  EXPECT_EQ(deadlines, (std::vector<std::int64_t>(2, INT64_MAX)));
}

TEST_F(Runner, ALoopThatFailsIsALocalError) {
  auto runner = make();
  runner.open_loop(std::make_unique<CountingLoop>(deadlines));
  runner.push(ToyEvent::kBegin);
  runner.run();
  EXPECT_EQ(runner.state(), ToyState::kBroken);
  EXPECT_EQ(runner.error()->error.message(), "poll: for ever");
}

TEST_F(Runner, AnotherThreadsFirstFailureIsTakenOnceAndWakesTheLoop) {
  auto runner = make();
  runner.wake();  // no loop yet: nothing to wake
  int wakes = 0;
  runner.open_loop(std::make_unique<CountingLoop>(deadlines, &wakes));
  runner.fail(make_error(ErrorCode::kClosed, "lane", "first"));
  runner.fail(make_error(ErrorCode::kClosed, "lane", "second"));
  EXPECT_EQ(wakes, 2);
  const auto failure = runner.take_failure();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->detail, "first");
  EXPECT_FALSE(runner.take_failure());
  runner.close_loop();
  runner.wake();
  EXPECT_EQ(wakes, 2);
}

}  // namespace
}  // namespace godwit::engine
