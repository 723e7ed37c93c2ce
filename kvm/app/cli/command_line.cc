#include "cli/command_line.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "godwit/net/socket.h"
#include "godwit/wire/codec.h"

#include "cli/advice.h"
#include "cli/exit_code.h"
#include "cli/units_text.h"

// The only file that sees CLI11. It only splits the line into options: every value is read by our
// own parsers, which refuse what CLI11 would bend (negative sizes, octal numbers, overflow).

namespace godwit::app {
namespace {

constexpr const char* kVersion = "0.1.0";
constexpr std::uint64_t kWorkingSetDefault = 256 * kMiB;

struct FaultName {
  engine::InjectedFault fault;
  const char* name;
};
constexpr std::array<FaultName, 8> kFaultNames{
    {{engine::InjectedFault::kFlipBit, "flip-bit"},
     {engine::InjectedFault::kDropPage, "drop-page"},
     {engine::InjectedFault::kStalePage, "stale-page"},
     {engine::InjectedFault::kSkipRegister, "skip-register"},
     {engine::InjectedFault::kBlackoutDelay, "blackout-delay"},
     {engine::InjectedFault::kFaultDelay, "fault-delay"},
     {engine::InjectedFault::kCutBeforeCommit, "cut-before-commit"},
     {engine::InjectedFault::kCutAfterCommit, "cut-after-commit"}}};

/// Collects the options of one subcommand: each with the function that reads its value once the
/// line is split.
class OptionTable {
 public:
  explicit OptionTable(CLI::App& app) : app_(app) {}

  void value(const std::string& name,
             const std::string& help,
             std::function<Status(const std::string&)> read,
             bool hidden = false) {
    auto entry = std::make_unique<Entry>();
    entry->name = name;
    entry->read = std::move(read);
    entry->option = app_.add_option(name, entry->text, help);
    if (hidden) {
      entry->option->group("");
    }
    entries_.push_back(std::move(entry));
  }
  void required_value(const std::string& name,
                      const std::string& help,
                      std::function<Status(const std::string&)> read) {
    value(name, help, std::move(read));
    entries_.back()->option->required();
  }
  CLI::Option* flag(const std::string& name, bool& target, const std::string& help) {
    return app_.add_flag(name, target, help);
  }

  /// Reads all values that were given. Errors: kInvalidArgument naming the option.
  [[nodiscard]] Status read_all() const {
    for (const auto& entry : entries_) {
      if (entry->option->count() == 0) {
        continue;
      }
      if (auto status = entry->read(entry->text); !status) {
        return fail(ErrorCode::kInvalidArgument,
                    "",
                    fmt::format("{}: {}", entry->name, status.error().message()));
      }
    }
    return {};
  }

 private:
  struct Entry {
    std::string name;
    std::string text;
    std::function<Status(const std::string&)> read;
    CLI::Option* option = nullptr;
  };
  CLI::App& app_;
  std::vector<std::unique_ptr<Entry>> entries_;
};

template <typename T, typename Parse>
std::function<Status(const std::string&)> into(T& target, Parse parse) {
  return [&target, parse](const std::string& text) -> Status {
    GODWIT_TRY_ASSIGN(auto value, parse(text));
    target = std::move(value);
    return {};
  };
}

std::function<Status(const std::string&)> into_text(std::string& target) {
  return [&target](const std::string& text) -> Status {
    if (text.empty()) {
      return fail(ErrorCode::kInvalidArgument, "", "must not be empty");
    }
    target = text;
    return {};
  };
}

tl::unexpected<Error> unknown(const std::string& text, const char* choices) {
  return fail(
      ErrorCode::kInvalidArgument, "", fmt::format("'{}' is unknown; possible: {}", text, choices));
}

Result<std::uint32_t> parse_count(const std::string& text) {
  GODWIT_TRY_ASSIGN(const auto number, parse_number(text));
  if (number < 1 || number > 1'000'000) {
    return fail(ErrorCode::kInvalidArgument, "", fmt::format("'{}' is not in 1..1000000", text));
  }
  return static_cast<std::uint32_t>(number);
}

Result<std::uint32_t> parse_channels(const std::string& text) {
  GODWIT_TRY_ASSIGN(const auto number, parse_number(text));
  if (number < 1 || number > wire::kMaxBulkChannels) {
    return fail(ErrorCode::kInvalidArgument,
                "",
                fmt::format("'{}' is not in 1..{}", text, wire::kMaxBulkChannels));
  }
  return static_cast<std::uint32_t>(number);
}

Result<std::int64_t> parse_positive_duration(const std::string& text) {
  GODWIT_TRY_ASSIGN(const auto ns, parse_duration(text));
  if (ns == 0) {
    return fail(ErrorCode::kInvalidArgument, "", "must be more than nothing");
  }
  return ns;
}

Result<GuestChoice> parse_guest(const std::string& text) {
  if (text == "auto") {
    return GuestChoice::kAuto;
  }
  if (text == "kvm") {
    return GuestChoice::kKvm;
  }
  if (text == "process") {
    return GuestChoice::kProcess;
  }
  return unknown(text, "auto, kvm, process");
}

Result<std::string> parse_congestion(const std::string& text) {
  if (text == "auto" || text == "cubic" || text == "bbr" || text == "reno") {
    return text;
  }
  return unknown(text, "auto, cubic, bbr, reno");
}

Result<engine::OnNoConvergence> parse_on_no_convergence(const std::string& text) {
  if (text == "force") {
    return engine::OnNoConvergence::kForce;
  }
  if (text == "fail") {
    return engine::OnNoConvergence::kFail;
  }
  return unknown(text, "force, fail");
}

/// "unix:PATH" with an absolute path: who connects may have another working directory.
Result<std::string> parse_unix_endpoint(const std::string& path) {
  std::error_code error;
  const auto absolute = path.empty() ? path : std::filesystem::absolute(path, error).string();
  GODWIT_TRY_ASSIGN(const auto address, net::parse_endpoint("unix:" + (error ? path : absolute)));
  return net::format_endpoint(address);
}

/// An endpoint in full; an empty host is this machine alone.
Result<std::string> parse_endpoint(const std::string& text) {
  constexpr std::string_view kScheme = "tcp:";
  constexpr std::string_view kUnixScheme = "unix:";
  if (text.rfind(kUnixScheme, 0) == 0) {
    return parse_unix_endpoint(text.substr(kUnixScheme.size()));
  }
  if (text.rfind(kScheme, 0) != 0) {
    return fail(ErrorCode::kInvalidArgument,
                "",
                fmt::format("'{}' is neither tcp:HOST:PORT nor unix:PATH", text));
  }
  auto rest = text.substr(kScheme.size());
  if (!rest.empty() && rest[0] == ':') {
    rest = "127.0.0.1" + rest;
  } else if (rest.find(':') == std::string::npos) {
    rest = "127.0.0.1:" + rest;
  }
  GODWIT_TRY_ASSIGN(const auto address, net::parse_address(rest));
  return net::format_endpoint(address);
}

Result<PageId> parse_page(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) {
    return fail(ErrorCode::kInvalidArgument, "", "is not REGION:PAGE");
  }
  GODWIT_TRY_ASSIGN(const auto region, parse_number(text.substr(0, colon)));
  GODWIT_TRY_ASSIGN(const auto page, parse_number(text.substr(colon + 1)));
  if (region > std::numeric_limits<RegionIndex>::max()) {
    return fail(ErrorCode::kInvalidArgument, "", fmt::format("'{}' is too large", text));
  }
  return PageId{static_cast<RegionIndex>(region), page};
}

template <typename T>
Result<T> known(std::optional<T> value, const std::string& text, const char* choices) {
  if (!value) {
    return unknown(text, choices);
  }
  return *value;
}

constexpr const char* kWorkloads =
    "idle, sequential-write, random-write, zipf-write, random-read, sequential-read";

constexpr const char* kBackings = "memfd, anonymous, hugetlb";

/// Sizes whose defaults depend on each other.
struct GuestSizes {
  std::optional<std::uint64_t> memory, populated, working_set;
};

void add_guest_options(OptionTable& table, CommandLine& line, GuestSizes& sizes) {
  auto& config = line.config;
  table.value("--guest", "auto, kvm or process", into(line.guest, parse_guest));
  table.value("--memory", "guest memory (1GiB)", into(sizes.memory, parse_size));
  table.value("--populated",
              "memory written before the migration (all of it)",
              into(sizes.populated, parse_size));
  table.value("--working-set",
              "memory that the workload touches (the smaller of 256MiB and half of the populated)",
              into(sizes.working_set, parse_size));
  table.value("--vcpus", "vCPUs or workers (1)", into(config.vcpus, parse_count));
  table.value("--workload", kWorkloads, into(config.workload, [](const std::string& text) {
                return known(vmm::parse_workload(text), text, kWorkloads);
              }));
  table.value("--rate",
              "bytes touched per second by the whole guest, 0 = full speed (0)",
              into(config.rate_bytes_per_s, parse_size));
  table.value(
      "--fill",
      "initial content: random, compressible, zero or alternating, every second page zero (random)",
      into(config.fill, [](const std::string& text) {
        return known(vmm::parse_fill(text), text, "random, compressible, zero, alternating");
      }));
}

void add_dirty_source(OptionTable& table, CommandLine& line) {
  constexpr const char* kChoices = "auto, log, ring, wp, wp-async";
  table.value("--dirty-source",
              "how writes are noticed: auto, log or ring (KVM), wp or wp-async (process) (auto)",
              into(line.config.dirty, [](const std::string& text) {
                return known(vmm::parse_dirty_choice(text), text, kChoices);
              }));
}

void add_seed(OptionTable& table, CommandLine& line) {
  table.value("--seed",
              "makes everything random in guest and injection (1)",
              into(line.config.seed, parse_number));
}

void add_backing(OptionTable& table, CommandLine& line, const char* help) {
  table.value("--backing", help, into(line.backing, [](const std::string& text) {
                return known(vmm::parse_backing(text), text, kBackings);
              }));
}

void add_congestion(OptionTable& table, CommandLine& line) {
  table.value("--congestion",
              "congestion control: auto, cubic, bbr or reno (auto)",
              into(line.migration.congestion, parse_congestion));
}

void add_trace(OptionTable& table, CommandLine& line, const char* whose) {
  table.value("--trace",
              fmt::format("file that gets the trace of {}, for Perfetto and other viewers", whose),
              into_text(line.trace));
}

template <typename Choice>
void add_transport(OptionTable& table, Choice& target) {
  table.value("--transport",
              "what waits for the sockets here: auto, uring (io_uring) or poll (auto)",
              into(target, parse_transport));
}

void add_timeout(OptionTable& table, CommandLine& line) {
  table.value("--timeout",
              "longest wait without progress before COMMIT (10s)",
              into(line.migration.source.timeout_ns, parse_positive_duration));
}

void add_migration_options(OptionTable& table, CommandLine& line) {
  auto& source = line.migration.source;
  table.value("--mode",
              "hybrid, precopy, postcopy or stop-and-copy (hybrid)",
              into(source.mode, parse_mode));
  table.value("--switch-after-rounds",
              "hybrid: pre-copy rounds before the switch (2)",
              into(source.switch_after_rounds, parse_count));
  table.value("--max-rounds", "precopy: rounds at most (30)", into(source.max_rounds, parse_count));
  table.value("--downtime-limit",
              "precopy: longest blackout (300ms)",
              into(source.downtime_limit_ns, parse_duration));
  table.value("--on-no-convergence",
              "precopy: force or fail (force)",
              into(source.on_no_convergence, parse_on_no_convergence));
  table.value("--max-bandwidth",
              "bytes/s of pre-copy and background pages, 0 = unlimited (0)",
              into(source.max_bandwidth, parse_size));
  table.value("--channels",
              "connections that carry pages in bulk, 1 to 64 (1)",
              into(source.channels, parse_channels));
  add_congestion(table, line);
  table.flag("--prealloc", source.prealloc, "populate the target's memory first");
  table.flag("--floors", line.migration.floors, "measure this machine's floors before");
  table.flag("--timeline",
             line.migration.timeline,
             "report the guest's throughput every 10 ms; the migration begins 0.25 s later");
  add_timeout(table, line);
}

void add_control(OptionTable& table, CommandLine& line) {
  table.required_value("--control", "path of the control socket", into_text(line.control));
}

Status finish_guest(CommandLine& line, const GuestSizes& sizes) {
  auto& config = line.config;
  config.backing = line.backing.value_or(config.backing);
  config.memory_bytes = sizes.memory.value_or(kGiB);
  config.populated_bytes = sizes.populated.value_or(config.memory_bytes);
  config.working_set_bytes =
      sizes.working_set.value_or(std::min(kWorkingSetDefault, config.populated_bytes / 2));
  if (auto status = vmm::validate(config); !status) {
    return fail(advised(status.error()));
  }
  if (line.guest != GuestChoice::kAuto) {
    const auto kind =
        line.guest == GuestChoice::kKvm ? vmm::GuestKind::kKvm : vmm::GuestKind::kProcess;
    if (auto status = vmm::check_dirty_choice(kind, config.dirty); !status) {
      return fail(advised(status.error()));
    }
  }
  return {};
}

bool writes(vmm::Workload workload) {
  return workload == vmm::Workload::kSequentialWrite || workload == vmm::Workload::kRandomWrite ||
         workload == vmm::Workload::kZipfWrite;
}

/// Each network namespace has a loopback of its own.
Status check_namespaces(const CommandLine& line) {
  if (line.source_netns == line.target_netns) {
    return {};
  }
  GODWIT_TRY_ASSIGN(const auto address, net::parse_endpoint(line.listen));
  if (address.is_unix() || !address.stays_here()) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "",
              fmt::format("--listen {}: another network namespace does not reach it; give an "
                          "address of the target's, --listen tcp:HOST:0",
                          line.listen));
}

/// A fault that this guest and mode cannot show is a mistake of the caller, not a result.
Status check_fault(const CommandLine& line) {
  const auto fault = line.migration.inject.fault;
  const auto mode = line.migration.source.mode;
  const bool rounds = mode == engine::Mode::kHybrid || mode == engine::Mode::kPrecopy;
  const auto off = [](std::string text) {
    return fail(ErrorCode::kInvalidArgument, "", "--inject " + std::move(text));
  };
  if (fault == engine::InjectedFault::kStalePage && (!rounds || !writes(line.config.workload))) {
    return off("stale-page: needs a writing --workload and --mode hybrid or precopy");
  }
  if (fault == engine::InjectedFault::kFaultDelay && mode != engine::Mode::kHybrid &&
      mode != engine::Mode::kPostcopy) {
    return off("fault-delay: needs --mode hybrid or postcopy");
  }
  if ((fault == engine::InjectedFault::kDropPage || fault == engine::InjectedFault::kFlipBit) &&
      line.config.fill == vmm::Fill::kZero) {
    return off(fmt::format(
        "{}: needs --fill random, compressible or alternating; a page of zeros has no bytes on "
        "the wire",
        fault_name(fault)));
  }
  return {};
}

/// One subcommand with its options and what is to be checked after reading them.
struct Subcommand {
  Command command = Command::kDemo;
  CLI::App* app = nullptr;
  std::unique_ptr<OptionTable> table;
};

class Parser {
 public:
  Parser() : app_("godwit: live migration of KVM guests", "godwit") {
    app_.require_subcommand(1);
    app_.set_version_flag("--version", std::string("godwit ") + kVersion);
    add_run();
    add_receive();
    add_migrate();
    add_client(Command::kStatus, "status", "shows the guest's state");
    add_client(Command::kSwitch, "switch", "ends pre-copy now");
    add_client(Command::kCancel, "cancel", "cancels the migration, until it is committed");
    add_client(Command::kStop, "stop", "ends the guest and its process");
    add_demo();
  }

  ParsedCommandLine parse(int argc, const char* const* argv) {
    ParsedCommandLine out;
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& done) {  // --help, --version
      out.message = done.get_name() == "CallForVersion" ? std::string(done.what()) + "\n" : help();
      return out;
    } catch (const CLI::ParseError& error) {
      out.message = no_command(argc, argv).value_or(error.what());
      out.exit_code = kExitUsage;
      return out;
    }
    for (const auto& sub : subcommands_) {
      if (sub.app->parsed()) {
        line_.command = sub.command;
        if (auto status = finish(sub); !status) {
          out.message = status.error().message();
          out.exit_code = kExitUsage;
          return out;
        }
      }
    }
    out.line = line_;
    return out;
  }

 private:
  /// What to say when the first word is no command; CLI11 only says that one is missing.
  std::optional<std::string> no_command(int argc, const char* const* argv) const {
    if (argc < 2 || argv[1][0] == '-') {
      return std::nullopt;
    }
    std::string names;
    for (const auto& sub : subcommands_) {
      if (sub.app->get_name() == argv[1]) {
        return std::nullopt;
      }
      names += (names.empty() ? "" : ", ") + sub.app->get_name();
    }
    return fmt::format("'{}' is no command; possible: {}", argv[1], names);
  }
  [[nodiscard]] std::string help() const {
    for (const auto& sub : subcommands_) {
      if (sub.app->parsed()) {
        return sub.app->help("godwit");
      }
    }
    return app_.help();
  }

  OptionTable& add(Command command, const char* name, const char* help) {
    Subcommand sub;
    sub.command = command;
    sub.app = app_.add_subcommand(name, help);
    sub.table = std::make_unique<OptionTable>(*sub.app);
    subcommands_.push_back(std::move(sub));
    return *subcommands_.back().table;
  }
  void add_json(OptionTable& table) {
    table.flag("--json", line_.json, "exactly one JSON object on stdout, also on failure");
  }

  void add_run() {
    auto& table = add(Command::kRun, "run", "starts a guest and serves its control socket");
    add_control(table, line_);
    add_guest_options(table, line_, sizes_);
    add_dirty_source(table, line_);
    add_seed(table, line_);
    add_backing(table, line_, "kind of guest memory: memfd, anonymous or hugetlb (memfd)");
    add_transport(table, line_.transport);
  }
  void add_receive() {
    auto& table = add(Command::kReceive, "receive", "waits for one guest and runs it");
    add_control(table, line_);
    table.value("--listen",
                "tcp:HOST:PORT, port 0: the kernel chooses; or unix:PATH (tcp:127.0.0.1:0)",
                into(line_.listen, parse_endpoint));
    table.value("--memory", "largest guest that is accepted", into(line_.memory_cap, parse_size));
    add_backing(
        table, line_, "kind of guest memory here: memfd, anonymous or hugetlb (the guest's)");
    add_congestion(table, line_);
    add_transport(table, line_.transport);
    add_timeout(table, line_);
    add_trace(table, line_, "the target");
    table.value("--inject-drop-page", "", into(line_.drop_page, parse_page), true);
    table.flag("--inject-skip-register", line_.skip_register, "")->group("");
  }
  void add_migrate() {
    auto& table = add(Command::kMigrate, "migrate", "migrates the guest behind a control socket");
    add_control(table, line_);
    table.required_value(
        "--to", "tcp:HOST:PORT or unix:PATH of the target", into(line_.to, parse_endpoint));
    add_migration_options(table, line_);
    add_transport(table, line_.migration.transport);
    add_trace(table, line_, "the source");
    add_json(table);
  }
  void add_client(Command command, const char* name, const char* help) {
    auto& table = add(command, name, help);
    add_control(table, line_);
    add_json(table);
  }
  void add_demo() {
    auto& table =
        add(Command::kDemo, "demo", "source and target as two processes here, one migration");
    add_guest_options(table, line_, sizes_);
    add_dirty_source(table, line_);
    add_seed(table, line_);
    add_backing(table, line_, "kind of guest memory: memfd, anonymous or hugetlb (memfd)");
    table.value("--listen",
                "where both meet, tcp:HOST:PORT or unix:PATH (tcp:127.0.0.1:0)",
                into(line_.listen, parse_endpoint));
    table.value("--to", "the same as --listen", into(line_.to, parse_endpoint));
    add_migration_options(table, line_);
    add_transport(table, line_.transport);
    add_trace(table, line_, "source and target");
    add_json(table);
    table.value("--inject",
                "plants a fault: flip-bit, drop-page, stale-page, skip-register, blackout-delay=D, "
                "fault-delay=D, cut-before-commit or cut-after-commit",
                into(line_.migration.inject, parse_fault));
    table.flag("--no-checksum", no_checksum_, "send frames without checksums");
    table.value("--source-netns",
                "network namespace that the source runs in, by name or path (this one)",
                into_text(line_.source_netns));
    table.value("--target-netns",
                "the same for the target; --listen names an address in it",
                into_text(line_.target_netns));
    table.flag("--warm", line_.warm, "touch and free as much memory before, for steady figures");
  }

  Status finish(const Subcommand& sub) {
    GODWIT_TRY(sub.table->read_all());
    line_.migration.source.checksum = !no_checksum_;
    line_.migration.trace = !line_.trace.empty();
    if (sub.command == Command::kRun || sub.command == Command::kDemo) {
      GODWIT_TRY(finish_guest(line_, sizes_));
    }
    if (sub.command == Command::kDemo && !line_.to.empty()) {
      if (line_.listen != line_.to && line_.listen != CommandLine().listen) {
        return fail(ErrorCode::kInvalidArgument,
                    "",
                    "--listen and --to name one address in a demo; give one of them");
      }
      line_.listen = line_.to;
    }
    GODWIT_TRY(check_namespaces(line_));
    return check_fault(line_);
  }

  CLI::App app_;
  CommandLine line_;
  GuestSizes sizes_;
  bool no_checksum_ = false;
  std::vector<Subcommand> subcommands_;
};

}  // namespace

const char* fault_name(engine::InjectedFault fault) {
  for (const auto& entry : kFaultNames) {
    if (entry.fault == fault) {
      return entry.name;
    }
  }
  return "none";
}

namespace {

constexpr std::array<std::pair<TransportChoice, const char*>, 3> kTransportNames{
    {{TransportChoice::kAuto, "auto"},
     {TransportChoice::kUring, "uring"},
     {TransportChoice::kPoll, "poll"}}};

}  // namespace

const char* transport_choice_name(TransportChoice choice) {
  return kTransportNames.at(static_cast<std::size_t>(choice) - 1).second;
}

Result<TransportChoice> parse_transport(const std::string& text) {
  for (const auto& [choice, name] : kTransportNames) {
    if (text == name) {
      return choice;
    }
  }
  return unknown(text, "auto, uring, poll");
}

Result<FaultSpec> parse_fault(const std::string& text) {
  FaultSpec spec;
  const auto equals = text.find('=');
  const auto name = text.substr(0, equals);
  for (const auto& entry : kFaultNames) {
    if (name == entry.name) {
      spec.fault = entry.fault;
    }
  }
  const bool delay = spec.fault == engine::InjectedFault::kBlackoutDelay ||
                     spec.fault == engine::InjectedFault::kFaultDelay;
  if (spec.fault == engine::InjectedFault::kNone || delay != (equals != std::string::npos)) {
    return unknown(text,
                   "flip-bit, drop-page, stale-page, skip-register, blackout-delay=D, "
                   "fault-delay=D, cut-before-commit, cut-after-commit");
  }
  if (delay) {
    GODWIT_TRY_ASSIGN(spec.delay_ns, parse_duration(text.substr(equals + 1)));
  }
  return spec;
}

Result<engine::Mode> parse_mode(const std::string& text) {
  for (const auto mode : {engine::Mode::kHybrid,
                          engine::Mode::kPrecopy,
                          engine::Mode::kPostcopy,
                          engine::Mode::kStopAndCopy}) {
    if (text == engine::mode_name(mode)) {
      return mode;
    }
  }
  return unknown(text, "hybrid, precopy, postcopy, stop-and-copy");
}

ParsedCommandLine parse_command_line(int argc, const char* const* argv) {
  Parser parser;
  auto out = parser.parse(argc, argv);
  out.json = std::any_of(
      argv, argv + argc, [](const char* text) { return std::string_view(text) == "--json"; });
  return out;
}

}  // namespace godwit::app
