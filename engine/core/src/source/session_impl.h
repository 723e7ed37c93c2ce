#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "godwit/engine/source_session.h"

#include "link/frame_channel.h"
#include "link/handshake.h"
#include "machine/runner.h"
#include "machine/source_machine.h"
#include "policy/blackout_forecast.h"
#include "policy/reconnect.h"
#include "policy/switch_policy.h"
#include "source/figures.h"
#include "source/lanes.h"
#include "source/plane.h"
#include "source/planted.h"
#include "source/urgent.h"

namespace godwit::engine {

// The migration thread. It runs the machine (machine/source_machine.h) on the events that channels,
// guest and commands bring, and does what the machine's transitions ask. Pages are the business of
// the lanes (source/lanes.h) and of the urgent loop (source/urgent.h).
// Its members are in five files: the thread and the end in session.cc, connections and messages in
// connect.cc, pre-copy in rounds.cc, the blackout in switch.cc, a lost link in recovery.cc.
class SourceSession::Impl {
  /// Whether the migration may still be cancelled: whoever changes it first from open has decided.
  enum class Fate : std::uint8_t { kOpen = 0, kCancelled, kDecided };
  /// What the lanes were told to do and have not reported done.
  enum class Ordered : std::uint8_t { kNothing = 0, kRound, kBarrier, kStream };

 public:
  Impl(SourceGuest& guest, Transport& transport, SourceOptions options);
  void start();
  const MigrationReport& wait();
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  void request_switch();
  bool request_cancel();
  void stop_reconnecting();
  bool recover(Transport* transport);
  Result<bool> resume_fenced();
  [[nodiscard]] SourceState state() const { return runner_.state(); }
  [[nodiscard]] Progress progress() const;

 private:
  /// What the channels of all links have carried that are gone.
  struct LinkTotals {
    std::uint64_t control_bytes = 0;
    std::uint64_t bulk_bytes = 0;
    std::uint64_t urgent_bytes = 0;
    std::uint64_t urgent_payload_bytes = 0;
    std::uint64_t demand_pages = 0;
    std::uint64_t overtaken_pages = 0;
    std::int64_t waited_ns = 0;
    bool raised = false;
  };

  // the thread
  void start_thread(void (Impl::*body)());
  void run();
  void run_again();
  void perform(const SourceTransition& row);
  /// Commands, and the other threads' news.
  void look_around();
  /// Longest wait without progress in the present phase; absent: no limit.
  [[nodiscard]] std::optional<std::int64_t> patience_here() const;

  // connecting
  Status connect();
  Status take_control(std::unique_ptr<Channel> channel);
  Status send_hello();
  Status describe();
  Status open_channels();
  [[nodiscard]] bool all_open() const;
  /// Whether a cancel has interrupted what failed: no event then, look_around() takes the request.
  [[nodiscard]] bool interrupted(const Error& error) const;
  void on_link_error(const Error& error);
  /// For the threads of the page channels.
  SourceNotes notes();
  void take_failures();

  // messages
  Status on_control(const wire::FrameView& frame);
  Status check_epoch(const wire::FrameView& frame, const char* what) const;
  void on_ready();
  void peer_gave_up(ErrorCode code, std::uint16_t phase, const std::string& text);

  // pre-copy
  Status begin_rounds();
  /// Announcements that travel with the pages they speak of.
  DirtyLedger::Announce in_band();
  Status announce_populated(const DirtyLedger::Announce& announce);
  /// Harvests the dirty source into the ledger and tells the target.
  Status sync_dirty(const DirtyLedger::Announce& announce);
  void begin_round();
  void step(const Status& status);
  /// The lanes have done what they were told.
  void order_done(Ordered ordered);
  Status end_round();
  /// Carries out what the round's end has come to.
  Status obey(const Judgement& judgement, const RoundReport& round, std::uint64_t pending_pages);
  /// Of a blackout that carries what is pending now. Thread: any.
  [[nodiscard]] std::optional<BlackoutForecast> forecast() const;

  // blackout
  Status send_barrier();
  /// All that was sent is placed. Pages that the guest wrote meanwhile may be mapped at the target;
  /// many of them are unmapped now, while the guest still runs, and not in the blackout.
  Status barrier_passed();
  Status quiesce();
  Status flush_control();
  Status send_state();
  Status send_commit();
  Status begin_stream();
  /// The guest goes on here; what came of it is in resumed_.
  void resume();

  // a lost link
  /// Ends channels and their threads. What they had claimed is given back by end_missing().
  Status drop_link();
  Status begin_reconnect();
  /// One attempt, if it is due; or the end of all.
  void dial();
  [[nodiscard]] bool may_dial(std::int64_t now) const;
  /// For the message. Requires: not may_dial().
  [[nodiscard]] std::string why_not_dialled() const;
  /// There is no link, and one is to be had.
  [[nodiscard]] bool dials() const;
  [[nodiscard]] std::optional<std::int64_t> wakes_at() const;
  /// The messages that only a link which was taken up again brings.
  Status on_resync(const wire::FrameView& frame);
  Status take_missing(const wire::Missing& missing);
  /// What the target misses is pending again; the page channels open.
  Status end_missing(const wire::MissingEnd& end);
  void resynced();
  void note_recovered();
  /// Channels and their threads go; what they carried is counted.
  void forget_link();

  // the end
  void shut_down_channels();
  /// Lets the last message leave, and ends threads, connections and tracking.
  void close();
  void finish();
  void fill_report();
  /// Every page that was missing at the switch was installed once.
  void check_books();

  SourceGuest& guest_;
  Transport* transport_;
  const SourceOptions options_;
  MachineRunner<SourceMachine> runner_;
  SourcePlane plane_;
  PlantedLoss loss_;

  DirtySource* tracking_ = nullptr;
  bool tracking_started_ = false;
  bool accepted_ = false;
  bool stopped_ = false;
  Status resumed_;
  bool cancelled_ = false;
  bool target_maps_ = false;  // placing a page maps it there, so old ones cost an unmapping
  Ordered ordered_ = Ordered::kNothing;
  std::uint64_t last_dirtied_ = 0;   // marks of the last sync
  std::uint64_t newly_pending_ = 0;  // of these, pages that the target had
  std::uint64_t barrier_id_ = 0;     // of the last one sent
  std::uint64_t previous_pending_ = 0;
  Convergence convergence_;
  std::uint64_t pages_before_round_ = 0;
  std::uint64_t bytes_before_round_ = 0;
  std::uint64_t pending_at_switch_ = 0;
  std::int64_t hello_sent_ns_ = 0;
  SourceHandshake handshake_;
  wire::Running running_;

  ReconnectWindow window_;
  std::int64_t paused_from_ns_ = 0;  // 0: the link is there
  std::vector<PageRun> missing_;     // as far as the target has told
  std::uint64_t missing_pages_ = 0;
  bool missing_told_ = false;
  bool target_runs_ = false;  // it said so on this link
  LinkTotals totals_;

  SourceStamps stamps_;
  std::int64_t round_began_ns_ = 0;
  std::int64_t ended_ns_ = 0;

  std::mutex refusal_mutex_;
  std::optional<wire::Refuse> refusal_;  // of a page channel; guarded by the mutex
  std::unique_ptr<FrameChannel> control_;
  std::unique_ptr<SourceLanes> lanes_;
  std::unique_ptr<SourceUrgent> urgent_;

  std::atomic<Fate> fate_{Fate::kOpen};
  std::atomic<bool> ended_{false};
  std::atomic<bool> cancel_requested_{false};
  std::atomic<bool> give_up_link_{false};
  std::atomic<std::uint32_t> round_{0};
  std::atomic<std::int64_t> rounds_began_ns_{0};
  // For progress(), relaxed: figures.
  std::atomic<std::int64_t> round_trip_ns_{0};
  std::atomic<std::int64_t> last_sync_ns_{0};
  std::atomic<std::uint32_t> vcpus_{0};
  std::atomic<double> moved_per_s_{0};
  std::atomic<double> dirtied_per_s_{0};
  std::atomic<SwitchReason> switch_reason_{SwitchReason::kNone};

  MigrationReport report_;
  std::jthread thread_;
};

}  // namespace godwit::engine
