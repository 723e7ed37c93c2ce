#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "godwit/engine/options.h"
#include "godwit/vmm/guest.h"

namespace godwit::app {

enum class Command : std::uint8_t {
  kRun = 1,
  kReceive,
  kMigrate,
  kStatus,
  kSwitch,
  kCancel,
  kStop,
  kDemo
};

enum class GuestChoice : std::uint8_t { kAuto = 1, kKvm, kProcess };

enum class TransportChoice : std::uint8_t { kAuto = 1, kUring, kPoll };

/// A planted fault as the user names it; which page it hits is decided later, by the seed.
struct FaultSpec {
  engine::InjectedFault fault = engine::InjectedFault::kNone;
  std::int64_t delay_ns = 0;
};

/// How one migration is done: what `migrate` sends to the process that runs the guest.
struct MigrationSettings {
  engine::SourceOptions source;  ///< without its injection
  FaultSpec inject;
  std::string congestion = "auto";
  std::optional<TransportChoice> transport;  ///< unset: what the guest's process was started with
  bool floors = false;
  bool timeline = false;
  bool trace = false;  ///< the answer brings the trace too
};

/// Everything that a command line can say. Sizes in bytes, durations in ns.
struct CommandLine {
  Command command = Command::kDemo;
  std::string control;                     ///< path of the control socket
  std::string to;                          ///< tcp:HOST:PORT or unix:PATH, the path absolute
  std::string listen = "tcp:127.0.0.1:0";  ///< the same
  std::string trace;                       ///< path of the trace; empty = none
  GuestChoice guest = GuestChoice::kAuto;
  TransportChoice transport = TransportChoice::kAuto;  ///< of this process
  vmm::GuestConfig config;                             ///< its kind is decided by resolve_kind()
  std::optional<std::uint64_t> memory_cap;             ///< receive: --memory, if given
  std::optional<vmm::Backing> backing;  ///< --backing, if given; at receive instead of the guest's
  MigrationSettings migration;
  std::optional<PageId> drop_page;  ///< receive, for demo: the page of drop-page
  bool skip_register = false;       ///< receive, for demo
  bool warm = false;                ///< demo
  std::string source_netns;         ///< demo: a name or a path; empty = ours
  std::string target_netns;         ///< the same
  bool json = false;
};

/// What to do: run a command, or print `message` and leave with `exit_code` (help, version, usage
/// errors).
struct ParsedCommandLine {
  std::optional<CommandLine> line;
  std::string message;
  int exit_code = 0;
  bool json = false;  ///< --json was among the arguments: errors are reported as JSON too
};

ParsedCommandLine parse_command_line(int argc, const char* const* argv);

const char* fault_name(engine::InjectedFault fault);
const char* transport_choice_name(TransportChoice choice);
/// Errors: kInvalidArgument.
Result<TransportChoice> parse_transport(const std::string& text);
/// Reads a fault's name ("blackout-delay=10ms" with its duration). Errors: kInvalidArgument.
Result<FaultSpec> parse_fault(const std::string& text);
Result<engine::Mode> parse_mode(const std::string& text);

}  // namespace godwit::app
