#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "godwit/engine/target_session.h"

#include "link/frame_channel.h"
#include "link/greeter.h"
#include "link/handshake.h"
#include "machine/runner.h"
#include "machine/target_machine.h"
#include "policy/timeouts.h"
#include "target/lanes.h"
#include "target/urgent.h"

namespace godwit::engine {

// The control thread. It accepts channels until all are open, runs the machine
// (machine/target_machine.h) on what the source says, and loads and starts the guest. Pages and
// faults are other threads' (target/lanes.h, target/urgent.h).
// Its members are in four files: the thread and the end in session.cc, connections and messages
// in connect.cc, the switch in switch.cc, a lost link in recovery.cc.
class TargetSession::Impl {
 public:
  Impl(TargetHost& host, Listener& listener, Transport& transport, TargetOptions options);
  ~Impl();
  void start();
  TargetState wait();
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  [[nodiscard]] TargetState state() const { return runner_.state(); }
  [[nodiscard]] std::uint64_t missing_pages() const;
  [[nodiscard]] std::optional<EndError> error() const {
    return ended() ? runner_.error() : std::nullopt;
  }
  [[nodiscard]] const TargetTrace& trace() const { return trace_; }
  [[nodiscard]] TargetGuest* guest() const;
  std::unique_ptr<TargetGuest> take_guest() { return std::move(machine_parts_.guest); }
  void abandon();

 private:
  void run();
  void perform(const TargetTransition& row);
  /// Connections, the other threads' news, and the order to stop.
  void look_around();
  void take_news();
  /// When a page came last, as far as that was noticed: the lanes stamp nothing.
  std::int64_t pages_moved_ns();

  // ------------------------------------------------------------------------------------- accepting
  void watch_listener();
  void stop_listening();

  /// Takes one connection. Its first frame says what it is; the greeter waits for it.
  void accept_one();
  void take_greeted();
  Status take_channel(std::unique_ptr<Channel> channel, const wire::Hello& hello);
  Status take_control(std::unique_ptr<Channel> channel);
  [[nodiscard]] TargetHandshake::Door door() const;
  Status take_pages(std::unique_ptr<Channel> channel, const wire::Hello& hello);
  Status open_urgent(std::unique_ptr<Channel> channel);
  TargetNotes notes();
  /// Raises channels-open once all threads of the page channels run.
  void note_open_channels();
  void on_link_error(const Error& error);

  // -------------------------------------------------------------------------------------- messages
  Status on_control(const wire::FrameView& frame);
  void accept_description(wire::Describe describe);
  Status create_machine(const MachineDescription& description, const wire::Describe& describe);
  void make_lanes();

  // ------------------------------------------------------------------------------------ the switch
  Status final_sync(const wire::FinalSync& sync);
  void load();
  void run_guest();
  [[nodiscard]] std::int64_t load_ns() const { return trace_.load_ended_ns - trace_.load_began_ns; }
  [[nodiscard]] std::int64_t resume_ns() const { return trace_.run_ended_ns - trace_.run_began_ns; }
  void complete();

  // ----------------------------------------------------------------------------------- a lost link
  /// Whether something of the guest depends on this side, so that its source may come back.
  [[nodiscard]] bool may_resume() const;
  /// Channels and lanes end; the urgent thread goes on without a channel, and serves what is here.
  void drop_link();
  /// The control channel is the one that has come, and all page channels are to follow.
  void take_link();
  void tell_running();
  void tell_missing();
  void tell_complete();

  // --------------------------------------------------------------------------------------- the end
  /// Lets the last message leave.
  void flush();
  /// Throws the machine's pages away: its threads end, its memory is unregistered.
  void discard();
  /// Keeps everything: the link is gone, the fault service stays.
  void hold();
  void stop_lanes();
  void stop_threads();
  void take_log(const FaultLog& log);
  /// Requires: stop_threads().
  void trace_faults();
  void finish();

  TargetHost& host_;
  Listener& listener_;
  Transport& transport_;
  const TargetOptions options_;
  MachineRunner<TargetMachine> runner_;
  TargetHandshake handshake_{options_.recovers};
  std::uint32_t bulk_channels_ = 0;
  TargetHost::Machine machine_parts_;
  std::unique_ptr<TargetPlane> plane_;
  std::vector<StateSection> sections_;
  Histogram latencies_;
  std::optional<wire::Complete> complete_;  ///< as it was told; it may have to be told again
  bool threads_stopped_ = false;
  bool listening_ = false;
  bool all_open_ = false;             // and channels-open was raised, since the link is there
  std::unique_ptr<Channel> resumed_;  // of a source that has come back, until take_link()
  std::uint64_t seen_bulk_bytes_ = 0;
  TargetTrace trace_;

  std::unique_ptr<FrameChannel> control_;
  std::unique_ptr<TargetLanes> lanes_;
  std::unique_ptr<TargetUrgent> urgent_;

  std::atomic<bool> ended_{false};
  std::atomic<bool> described_{false};
  std::atomic<bool> abandoned_{false};
  Greeter greeter_{std::min(kHelloNs, options_.timeout_ns), [this] { runner_.wake(); }};
  std::jthread thread_;
};

}  // namespace godwit::engine
