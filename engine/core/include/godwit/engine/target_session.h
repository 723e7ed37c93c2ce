#pragma once

#include <memory>
#include <optional>

#include "godwit/engine/options.h"
#include "godwit/engine/ports/target_host.h"
#include "godwit/engine/ports/transport.h"
#include "godwit/engine/report.h"
#include "godwit/engine/states.h"
#include "godwit/engine/trace.h"

namespace godwit::engine {

/// One incoming migration: waits on a listener for a source, receives the guest and runs it.
/// Threads: control, bulk and urgent, all this object's. Calls below from any thread.
class TargetSession {
 public:
  /// `host` and `transport` outlive the session, `listener` its end: see ended().
  TargetSession(TargetHost& host, Listener& listener, Transport& transport, TargetOptions options);
  ~TargetSession();
  TargetSession(const TargetSession&) = delete;
  TargetSession& operator=(const TargetSession&) = delete;

  void start();
  /// Waits until: completed, cancelled, failed, suspended (held, guest runs) or in doubt (held,
  /// guest waits).
  TargetState wait();
  [[nodiscard]] bool ended() const;
  [[nodiscard]] TargetState state() const;
  /// Pages that are still at the source.
  [[nodiscard]] std::uint64_t missing_pages() const;
  /// Why it ended, unless completed. Valid once ended().
  [[nodiscard]] std::optional<EndError> error() const;
  /// What happened when. Valid once ended().
  [[nodiscard]] const TargetTrace& trace() const;
  /// The machine: its guest may be taken once completed; while held it stays here, so that its
  /// memory is kept. Null before the machine exists.
  [[nodiscard]] TargetGuest* guest() const;
  std::unique_ptr<TargetGuest> take_guest();
  /// Ends a held session for good: unregisters the memory so that waiting vCPUs go on (they will
  /// see holes) and can be stopped. Only for a process that is about to exit.
  void abandon();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::engine
