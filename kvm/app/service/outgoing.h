#pragma once

#include <memory>
#include <optional>

#include "godwit/engine/source_session.h"
#include "godwit/net/transport.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"
#include "control/control_socket.h"
#include "control/requests.h"
#include "demo/planted.h"
#include "report/report.h"
#include "report/trace_json.h"

namespace godwit::app {

/// What a migration away from here came to.
struct MigrationResult {
  Report report;
  ReportAnswer answer;        ///< the report for who asked, and what goes with it
  std::optional<Json> trace;  ///< if asked for
};

/// One migration away from here: prepare(), open(), start its session, follow(), result().
/// Requires: the guest outlives it, and nobody else calls its controls until follow() has returned.
class Outgoing {
 public:
  /// All that comes before the session: the transport, what a planted fault hits, the floors.
  /// `ours`: the transport of a request that leaves it to this process. `client` hears of the floors
  /// that are measured.
  static Result<std::shared_ptr<Outgoing>> prepare(const MigrationRequest& request,
                                                   TransportChoice ours,
                                                   vmm::Guest& guest,
                                                   ControlConnection& client);
  /// Makes the session and begins what is measured of the migration.
  void open();
  /// Dials the target of a session that is held again, at `to` if that is not empty. Then follow().
  /// Errors: kState when it cannot be taken up again; of the address and the transport.
  Status recover(const std::string& to);
  /// Requires: open().
  [[nodiscard]] engine::SourceSession& session() { return *session_; }
  [[nodiscard]] engine::Mode mode() const { return options_.mode; }
  /// Sends progress to `client` until the session has ended, and takes the figures.
  void follow(ControlConnection& client);
  /// Requires: follow() has returned.
  [[nodiscard]] MigrationResult result() const;

 private:
  Outgoing(MigrationRequest request, vmm::Guest& guest)
      : request_(std::move(request)), guest_(guest) {}
  [[nodiscard]] Result<std::unique_ptr<engine::Transport>> make_transport(
      const std::string& to) const;
  Status measure(ControlConnection& client);
  void report_progress(ControlConnection& client);

  const MigrationRequest request_;
  vmm::Guest& guest_;
  engine::SourceOptions options_;
  net::LoopKind loop_{};
  std::unique_ptr<engine::Transport> transport_;
  std::unique_ptr<engine::Transport>
      other_transport_;  ///< of the last recover() at another address
  Plant plant_;
  std::optional<PlantedSource> planted_;  // when something is planted; outlives the session
  std::unique_ptr<engine::SourceSession> session_;
  vmm::GuestTelemetry before_;
  std::int64_t cpu_began_ns_ = 0;
  ProgressSamples samples_;  ///< for the trace
  ReportInput input_;
};

}  // namespace godwit::app
