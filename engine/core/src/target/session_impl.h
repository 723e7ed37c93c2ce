#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "godwit/engine/target_session.h"

#include "link/frame_channel.h"
#include "link/greeter.h"
#include "link/handshake.h"
#include "machine/target_machine.h"
#include "policy/timeouts.h"
#include "target/lanes.h"
#include "target/urgent.h"

namespace godwit::engine {

// The control thread. It accepts channels until all are open, runs the machine
// (machine/target_machine.h) on what the source says, and loads and starts the guest. Pages and
// faults are other threads' (target/lanes.h, target/urgent.h).
// Its members are in three files: the thread and the end in session.cc, connections and messages
// in connect.cc, the switch in switch.cc.
class TargetSession::Impl {
 public:
  Impl(TargetHost& host, Listener& listener, Transport& transport, TargetOptions options)
      : host_(host), listener_(listener), transport_(transport), options_(std::move(options)) {}
  ~Impl();
  void start();
  TargetState wait();
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  [[nodiscard]] TargetState state() const { return state_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t missing_pages() const;
  [[nodiscard]] std::optional<EndError> error() const { return ended() ? error_ : std::nullopt; }
  [[nodiscard]] const TargetTrace& trace() const { return trace_; }
  [[nodiscard]] TargetGuest* guest() const;
  std::unique_ptr<TargetGuest> take_guest() { return std::move(machine_parts_.guest); }
  void abandon();

 private:
  void run();
  [[nodiscard]] Deadline deadline() const;
  void look_around();
  void push(TargetEvent event) { events_.push_back(event); }
  void note_error(const Error& error, const char* side);
  void fire(TargetEvent event);
  void fire_all();
  void perform(std::uint32_t actions);

  // ------------------------------------------------------------------------------------- accepting
  void watch_listener();
  void stop_listening();

  /// Takes one connection. Its first frame says what it is; the greeter waits for it.
  void accept_one();
  void take_greeted();
  Status take_channel(std::unique_ptr<Channel> channel, const wire::Hello& hello);
  Status take_control(std::unique_ptr<Channel> channel);
  Status take_pages(std::unique_ptr<Channel> channel, const wire::Hello& hello);
  Status open_urgent(std::unique_ptr<Channel> channel);
  TargetNotes notes();

  // -------------------------------------------------------------------------- notes of the threads
  void wake();
  void note_from_thread(const Error& error);
  [[nodiscard]] bool all_open() const;
  void take_notes();
  void on_link_error(const Error& error);

  // -------------------------------------------------------------------------------------- messages
  Status on_control(const wire::FrameView& frame);
  void accept_description(wire::Describe describe);
  Status create_machine(const MachineDescription& description, const wire::Describe& describe);
  Status final_sync(const wire::FinalSync& sync);

  // --------------------------------------------------------------------------------------- running
  void load();
  void run_guest();
  [[nodiscard]] std::int64_t load_ns() const { return trace_.load_ended_ns - trace_.load_began_ns; }
  [[nodiscard]] std::int64_t resume_ns() const { return trace_.run_ended_ns - trace_.run_began_ns; }
  void complete();
  void stop_threads();
  void take_log(const FaultLog& log);

  /// After the last message: nobody waits for it. Requires: stop_threads(), and the threads' logs.
  void trace_faults();
  void close_channels();

  // --------------------------------------------------------------------------------------- the end
  void finish();

  TargetHost& host_;
  Listener& listener_;
  Transport& transport_;
  const TargetOptions options_;
  TargetMachine machine_;
  std::deque<TargetEvent> events_;
  TargetHandshake handshake_;
  TargetHost::Machine machine_parts_;
  std::unique_ptr<TargetPlane> plane_;
  std::vector<StateSection> sections_;
  Histogram latencies_;
  std::vector<std::span<const TraceFault>> kept_faults_;  ///< of the threads' logs
  std::optional<EndError> error_;
  TargetState phase_before_end_ = TargetState::kListening;
  bool finished_ = false;
  bool listening_ = false;
  std::uint64_t seen_bulk_bytes_ = 0;
  std::int64_t progress_ns_ = 0;
  TargetTrace trace_;

  // Guards thread_error_, and the lifetime of loop_ against wake(); never taken on the page path.
  std::mutex mutex_;
  std::unique_ptr<EventLoop> loop_;
  std::optional<Error> thread_error_;
  std::unique_ptr<FrameChannel> control_;
  std::unique_ptr<TargetLanes> lanes_;
  std::unique_ptr<TargetUrgent> urgent_;

  std::atomic<TargetState> state_{TargetState::kListening};
  std::atomic<bool> ended_{false};
  std::atomic<bool> described_{false};
  std::atomic<bool> abandoned_{false};
  Greeter greeter_{std::min(kHelloNs, options_.timeout_ns), [this] { wake(); }};
  std::jthread thread_;
};

}  // namespace godwit::engine
