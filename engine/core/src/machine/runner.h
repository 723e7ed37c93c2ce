#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/event_loop.h"
#include "godwit/base/log.h"
#include "godwit/base/result.h"
#include "godwit/engine/report.h"
#include "godwit/engine/trace.h"

namespace godwit::engine {

/// What both sessions do alike: runs a side's machine on the events that are pushed, in a loop that
/// other threads wake, ends it when nothing has progressed for too long, and keeps the first error
/// and the course of the states.
/// Thread: its session's, but for state(), wake() and fail().
template <typename Machine>
class MachineRunner {
 public:
  using State = decltype(std::declval<const Machine&>().state());
  using Transition =
      std::remove_const_t<std::remove_pointer_t<decltype(std::declval<Machine&>().on({}))>>;
  using Event = decltype(Transition::event);

  /// What a session does for its machine. Called from run() and fire_all() only.
  struct Session {
    /// Carries out the actions of a transition, in the order of their bits. May push events.
    std::function<void(const Transition& row)> perform;
    /// Turns what other threads, commands and channels have left into events.
    std::function<void()> look_around;
    /// Longest wait without progress in the present state; absent: no limit.
    std::function<std::optional<std::int64_t>()> patience_ns;
    /// When pages last moved, as far as that is known. Asked when the time is up only, so that
    /// nothing is stamped a page.
    std::function<std::int64_t()> pages_moved_ns;
    /// When look_around() is to be called again though nothing happens; absent: no such moment.
    std::function<std::optional<std::int64_t>()> wakes_at_ns = [] {
      return std::optional<std::int64_t>();
    };
    /// What an event that is not legal means: the event that ends it when a peer broke the
    /// protocol, nothing when it is a harmless echo.
    std::optional<Event> (*on_illegal)(State state, Event event) = nullptr;
  };

  /// `side`: "source" or "target".
  MachineRunner(const char* side, Session session) : side_(side), session_(std::move(session)) {
    states_.reserve(kStatesUsually);  // nothing is to be allocated in the blackout
  }

  // ------------------------------------------------------------------------------------ the thread

  /// Runs until the machine has ended. Requires: the loop is open, or an event that ends the
  /// machine is queued.
  void run();
  /// Takes an event that leads out of an end, before run() is called once more.
  void restart(Event event);
  void push(Event event) { events_.push_back(event); }
  /// Fires what is queued, until the machine has ended.
  void fire_all();
  [[nodiscard]] bool idle() const { return events_.empty(); }
  /// Something came of the peer or the guest: the wait begins anew.
  void progressed() { progress_ns_ = monotonic_ns(); }
  /// When that was last.
  [[nodiscard]] std::int64_t progress_ns() const { return progress_ns_; }
  /// Keeps the first error, with the state it ends the migration in, and logs it. `side`: whose.
  void note_error(const Error& error, const char* side);
  void note_error(const Error& error) { note_error(error, side_); }
  /// Keeps the first error as it is.
  void keep_error(EndError error);
  /// What was wrong has been mended.
  void forget_error() { error_.reset(); }
  [[nodiscard]] const std::optional<EndError>& error() const { return error_; }
  [[nodiscard]] const Machine& machine() const { return machine_; }
  /// The states so far, but for an end that came before anything had begun.
  std::vector<TraceState> take_states() { return std::move(states_); }

  EventLoop* loop() { return loop_.get(); }
  void open_loop(std::unique_ptr<EventLoop> loop);
  void close_loop() { open_loop(nullptr); }

  // ------------------------------------------------------------------------------------ any thread

  [[nodiscard]] State state() const { return state_.load(std::memory_order_acquire); }
  void wake();
  /// Leaves an error for take_failure(), the first one only.
  void fail(const Error& error);
  std::optional<Error> take_failure();

 private:
  static constexpr std::size_t kStatesUsually = 16;
  void fire(Event event);
  void check_patience();
  void wait();

  const char* const side_;
  const Session session_;
  Machine machine_;
  std::deque<Event> events_;
  std::optional<EndError> error_;
  std::vector<TraceState> states_;
  std::int64_t progress_ns_ = monotonic_ns();
  std::atomic<State> state_{Machine().state()};

  // Guards the life of loop_ against wake(), and failure_; never on the page path.
  std::mutex mutex_;
  std::unique_ptr<EventLoop> loop_;
  std::optional<Error> failure_;
};

template <typename Machine>
void MachineRunner<Machine>::run() {
  progressed();
  while (true) {
    fire_all();
    if (machine_.ended()) {
      return;
    }
    session_.look_around();
    if (events_.empty()) {
      check_patience();
    }
    if (events_.empty()) {
      wait();
    }
  }
}

template <typename Machine>
void MachineRunner<Machine>::wait() {
  const auto patience = session_.patience_ns();
  auto deadline = patience ? Deadline{progress_ns_ + *patience + 1} : Deadline::never();
  if (const auto wake = session_.wakes_at_ns()) {
    deadline.at_ns = std::min(deadline.at_ns, *wake);
  }
  if (auto ran = loop_->run_once(deadline); !ran) {
    note_error(ran.error());
    push(Event::kLocalError);
  }
}

template <typename Machine>
void MachineRunner<Machine>::check_patience() {
  const auto patience = session_.patience_ns();
  if (!patience || monotonic_ns() - progress_ns_ <= *patience) {
    return;
  }
  if (const auto moved_ns = session_.pages_moved_ns(); moved_ns > progress_ns_) {
    progress_ns_ = moved_ns;
    return;
  }
  note_error(make_error(ErrorCode::kTimeout,
                        "deadline",
                        fmt::format("no progress for {} ms in phase {}",
                                    *patience / 1'000'000,
                                    to_string(machine_.state()))));
  progressed();
  push(Event::kTimeout);
}

template <typename Machine>
void MachineRunner<Machine>::restart(Event event) {
  events_.clear();
  forget_error();
  fire(event);
}

template <typename Machine>
void MachineRunner<Machine>::fire_all() {
  while (!events_.empty() && !machine_.ended()) {
    const auto event = events_.front();
    events_.pop_front();
    fire(event);
  }
}

template <typename Machine>
void MachineRunner<Machine>::fire(Event event) {
  const auto before = machine_.state();
  const auto* transition = machine_.on(event);
  if (transition == nullptr) {
    if (const auto end = session_.on_illegal(before, event)) {
      note_error(make_error(
          ErrorCode::kProtocol,
          "message",
          fmt::format("{} is not legal in phase {}", to_string(event), to_string(before))));
      push(*end);
    }
    return;
  }
  const auto after = machine_.state();
  state_.store(after, std::memory_order_release);
  log_debug("{}: {} + {} -> {}", side_, to_string(before), to_string(event), to_string(after));
  progressed();
  const bool never_began = before == Machine().state() && machine_.ended();
  if (after != before && !never_began) {
    states_.push_back({to_string(after), progress_ns_});
  }
  session_.perform(*transition);
}

template <typename Machine>
void MachineRunner<Machine>::note_error(const Error& error, const char* side) {
  if (!error_) {
    error_ = EndError{error, side, std::string(to_string(machine_.state()))};
    log_error("{}: {} in phase {}", side_, error.message(), to_string(machine_.state()));
  }
}

template <typename Machine>
void MachineRunner<Machine>::keep_error(EndError error) {
  if (!error_) {
    error_ = std::move(error);
  }
}

template <typename Machine>
void MachineRunner<Machine>::open_loop(std::unique_ptr<EventLoop> loop) {
  const std::lock_guard lock(mutex_);
  loop_ = std::move(loop);
}

template <typename Machine>
void MachineRunner<Machine>::wake() {
  const std::lock_guard lock(mutex_);
  if (loop_ != nullptr) {
    loop_->wake();
  }
}

template <typename Machine>
void MachineRunner<Machine>::fail(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) {
      failure_ = error;
    }
  }
  wake();
}

template <typename Machine>
std::optional<Error> MachineRunner<Machine>::take_failure() {
  const std::lock_guard lock(mutex_);
  return std::exchange(failure_, std::nullopt);
}

}  // namespace godwit::engine
