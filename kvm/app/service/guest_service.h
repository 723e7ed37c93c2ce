#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "godwit/base/fd.h"
#include "godwit/engine/target_session.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"
#include "control/control_socket.h"
#include "control/requests.h"
#include "service/outgoing.h"

namespace godwit::app {

/// Whether a guest has been handed over to `session` and would be lost with it: it is here, or its
/// source has been told that it may be, and not all of its pages are.
bool guest_depends_on(const engine::TargetSession& session);

/// What a process with a guest does for its control socket: one guest that runs here, arrives,
/// leaves or is held.
///
/// Requests and answers are those of control/requests.h. Thread: handle() from any; the rest from the
/// main thread.
class GuestService {
 public:
  enum class End : std::uint8_t { kNone = 0, kMigratedAway, kStopped };

  /// `transport`: of migrations that leave the choice to this process.
  static Result<std::unique_ptr<GuestService>> create(TransportChoice transport);
  ~GuestService();
  GuestService(const GuestService&) = delete;
  GuestService& operator=(const GuestService&) = delete;

  /// The guest runs here from now on; it replaces an incoming session.
  void adopt(std::unique_ptr<vmm::Guest> guest);
  /// A guest arrives by `session`, which outlives this or adopt().
  void set_incoming(engine::TargetSession* session);
  /// The incoming session has ended held: whoever waits for it goes on.
  void incoming_ended();
  /// The incoming session has ended without a guest because of `why`, and `next` waits instead of
  /// it. Guarantees: the ended session is not used any more.
  void attempt_failed(const std::optional<engine::EndError>& why, engine::TargetSession* next);

  void handle(const Json& json, ControlConnection& connection);

  /// Readable when the process should end; end() tells why.
  [[nodiscard]] int end_fd() const { return end_event_.fd(); }
  [[nodiscard]] End end() const;
  /// Cancels what can be cancelled and lets all waiting requests go. Requests that follow are
  /// refused.
  void shut_down();
  /// Ends the guest. Requires: no request is running any more.
  void stop_guest();

 private:
  /// What is done with the guest by somebody; one at a time.
  enum class Busy : std::uint8_t { kNo = 0, kSweep, kMigration };

  GuestService(EventFd end_event, TransportChoice transport)
      : end_event_(std::move(end_event)), transport_(transport) {}

  StatusAnswer status() const;
  Result<Json> report(const ReportRequest& request) const;
  StatusAnswer incoming_status(const engine::TargetSession& session) const;  // requires mutex_
  Result<Json> wait_filled(ControlConnection& connection);
  StatusAnswer settle(const SettleRequest& request);
  Result<Json> telemetry(const TelemetryRequest& request);
  Result<Json> sweep();
  Status request_switch(const SwitchRequest& request);
  Status cancel();
  Status resume(const ResumeRequest& request);
  Status stop();
  /// Lets the guest be seen undisturbed for as long as a timeline shows of it.
  void wait_before_timeline();
  Status migrate(const Json& json, ControlConnection& connection);
  Status recover(const RecoverRequest& request, ControlConnection& connection);
  /// Sends what it came to, and ends the process if the guest is gone.
  void tell_result(MigrationResult result, ControlConnection& connection);
  Result<MigrationResult> run_migration(const MigrationRequest& request,
                                        vmm::Guest& guest,
                                        ControlConnection& connection);
  /// Keeps a held session with its memory; drops one that has ended.
  void conclude(const std::shared_ptr<Outgoing>& outgoing);

  Result<vmm::Guest*> begin(Busy what);
  void finish_busy();
  bool settled() const;  // requires mutex_
  /// Waits until settled, or until an attempt to send a guest here has failed.
  void wait_settled(std::unique_lock<std::mutex>& lock, std::uint64_t attempts);
  void signal_end(End end);

  EventFd end_event_;
  const TransportChoice transport_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // All below: guarded by mutex_. While busy, the busy thread uses the guest without it.
  std::shared_ptr<vmm::Guest> guest_;
  engine::TargetSession* incoming_ = nullptr;
  bool incoming_ended_ = false;
  std::uint64_t attempts_failed_ = 0;
  std::optional<engine::EndError> last_failure_;
  std::shared_ptr<Outgoing> outgoing_;
  /// Migrations away from here that have ended, and what they came to; the oldest are forgotten.
  struct Ended {
    EndedMigration summary;
    Json report;
  };
  std::deque<Ended> ended_;
  std::uint64_t migrations_ = 0;
  bool held_ = false;
  /// Cancelled while the floors were measured, before a session existed.
  bool cancel_early_ = false;
  bool shutting_down_ = false;
  Busy busy_ = Busy::kNo;
  End end_ = End::kNone;
};

}  // namespace godwit::app
