#pragma once

#include <memory>
#include <optional>

#include "godwit/engine/target_session.h"

#include "cli/command_line.h"
#include "cli/exit_code.h"
#include "cli/signals.h"
#include "control/control_socket.h"
#include "service/guest_service.h"
#include "service/target_host.h"

namespace godwit::app {

/// One incoming guest, then the life of its process. An attempt that fails before the guest is here
/// changes nothing: the next one is waited for, whoever it was that knocked.
class Receiver {
 public:
  Receiver(const ReceiveLine& line, const Signals& signals)
      : line_(line),
        signals_(signals),
        host_({.memory_cap = line.memory_cap,
               .backing = line.backing,
               .in_core_dumps = line.in_core_dumps,
               .skip_register = line.skip_register,
               .drop_page = line.drop_page}) {}

  /// Clients that wait for this guest are told that there will be none: a server ends only when
  /// they have.
  ~Receiver() {
    if (service_) {
      service_->shut_down();
    }
  }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  Result<int> run();

 private:
  Status listen();
  /// Waits for a signal, a stop request, or (until it has ended) the session.
  void wait_for_end();
  /// The exit code, once this process is done; nothing if the next attempt is to be waited for.
  std::optional<int> session_ended();
  void wait_for_next();
  std::unique_ptr<engine::TargetSession> make_session();
  /// Writes the trace of the attempt that has ended, unless nobody came.
  void write_trace();

  const ReceiveLine& line_;
  const Signals& signals_;
  TargetHost host_;
  std::unique_ptr<GuestService> service_;
  std::unique_ptr<engine::Transport> transport_;
  std::unique_ptr<engine::Listener> listener_;
  std::unique_ptr<engine::TargetSession> session_;
  std::unique_ptr<ControlServer> server_;
  int trace_code_ = kExitOk;  ///< of the last trace
};

}  // namespace godwit::app
