#pragma once

#include <memory>

#include "godwit/engine/options.h"
#include "godwit/engine/ports/guest.h"
#include "godwit/engine/ports/transport.h"
#include "godwit/engine/report.h"
#include "godwit/engine/states.h"

namespace godwit::engine {

/// One outgoing migration: binds the source machine, the page plane, the ports and the threads.
/// Threads: a dedicated migration thread (the machine, rounds, handover), lanes (what bulk channels
/// carry) and an urgent thread (demand faults); all are this object's. Calls below from any thread.
class SourceSession {
 public:
  /// `guest` and `transport` outlive the session.
  SourceSession(SourceGuest& guest, Transport& transport, SourceOptions options);
  ~SourceSession();
  SourceSession(const SourceSession&) = delete;
  SourceSession& operator=(const SourceSession&) = delete;

  /// Starts the migration thread. Once.
  void start();
  /// Waits until the migration has ended in one of: completed, rolled back, failed, suspended
  /// (held). Guarantees: unless completed or held, the guest runs here again.
  const MigrationReport& wait();
  [[nodiscard]] bool ended() const;

  /// Hybrid and precopy: end pre-copy after the frame on its way.
  void request_switch();
  /// Legal until the decision to commit; afterwards without effect (returns false).
  bool request_cancel();

  /// A link that is being dialled again is given up: the session ends held. A link that is lost later
  /// is not dialled either, until recover(), which needs another transport then: that of this dialling
  /// has been interrupted for good.
  void stop_reconnecting();
  /// Dials the target of a session that has ended held once more, for SourceOptions::recover_for_ns,
  /// over `transport` (another address) if there is one; it outlives the session. wait() then waits for
  /// this try. False when the session is not held, or its target never offered recovery. Thread: one
  /// at a time, and none in wait().
  bool recover(Transport* transport = nullptr);

  /// Runs the guest of a session that has ended held on here, as it was when it stopped, because the
  /// target is dead for certain: what the guest did there is lost, and if it still runs there, there are
  /// two of it. False when the session is not held. Errors: those of SourceGuest::resume(). Thread: as
  /// recover().
  Result<bool> resume_fenced();

  [[nodiscard]] SourceState state() const;
  [[nodiscard]] Progress progress() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::engine
