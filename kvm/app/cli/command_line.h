#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "cli/choices.h"

namespace godwit::app {

/// Of the command; the build file says it.
extern const char* const kGodwitVersion;

inline constexpr const char* kListenDefault = "tcp:127.0.0.1:0";

// What a command line can say, a struct a command. Sizes in bytes, durations in ns; addresses are
// tcp:HOST:PORT or unix:PATH, the path absolute; `control` is the path of the control socket,
// `trace` that of the trace, empty for none.

struct RunLine {
  std::string control;
  GuestSettings guest;
  TransportChoice transport = TransportChoice::kAuto;
  bool in_core_dumps = false;
};

struct ReceiveLine {
  std::string control;
  std::string listen = kListenDefault;
  std::optional<std::uint64_t> memory_cap;  ///< largest guest that is accepted
  std::optional<vmm::Backing> backing;      ///< instead of the guest's
  std::string congestion = "auto";
  TransportChoice transport = TransportChoice::kAuto;
  engine::CpuPriority cpu_priority = engine::TargetOptions().cpu_priority;
  std::int64_t timeout_ns = engine::TargetOptions().timeout_ns;
  std::int64_t recover_for_ns = kRecoverForNs;
  std::int64_t stall_ns = engine::TargetOptions().stall_ns;
  bool in_core_dumps = false;
  std::string trace;
  std::optional<PageId> drop_page;  ///< for a demo: the page of drop-page
  bool skip_register = false;       ///< for a demo
};

struct MigrateLine {
  std::string control;
  std::string to;
  MigrationSettings migration;
  std::string trace;
  bool json = false;
};

struct RecoverLine {
  std::string control;
  std::string to;  ///< empty: where the migration went
  bool json = false;
};

/// status, report, switch, cancel, resume and stop.
struct ClientLine {
  std::string command;  ///< its name, which is that of the request too
  std::string control;
  bool json = false;
  bool force = false;                      ///< of switch
  std::optional<std::uint64_t> migration;  ///< of report
  bool fence = false;                      ///< of resume
  bool yes = false;                        ///< the same
};

struct DemoLine {
  GuestSettings guest;
  std::string listen = kListenDefault;
  std::string to;  ///< another name for `listen`, which has taken it over when the line is read
  MigrationSettings migration;
  TransportChoice transport = TransportChoice::kAuto;  ///< of both processes
  std::string trace;
  std::string source_netns;  ///< a name or a path; empty = ours
  std::string target_netns;  ///< the same
  bool warm = false;
  bool json = false;
};

using CommandLine =
    std::variant<RunLine, ReceiveLine, MigrateLine, RecoverLine, ClientLine, DemoLine>;

/// What to do: run a command, or print `message` and leave with `exit_code` (help, version, usage
/// errors).
struct ParsedCommandLine {
  std::optional<CommandLine> line;
  std::string message;
  int exit_code = 0;
  bool json = false;  ///< --json was among the arguments: errors are reported as JSON too
};

ParsedCommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace godwit::app
