#include "cli/options.h"

#include <fmt/format.h>

#include "cli/codecs.h"

namespace godwit::app {
namespace {

constexpr Names kOnNoConvergenceNames{std::array{Named{engine::OnNoConvergence::kForce, "force"},
                                                 Named{engine::OnNoConvergence::kFail, "fail"}}};

// Options that several commands have, each with a member of its own.

template <typename S>
void add_control(OptionTable<S>& table) {
  table.required("--control", "path of the control socket", &S::control, kText);
}

template <typename S>
void add_json(OptionTable<S>& table) {
  table.flag("--json", "exactly one JSON object on stdout, also on failure", &S::json);
}

template <typename S>
void add_congestion(OptionTable<S>& table) {
  table.value("--congestion",
              "congestion control: auto, cubic, bbr or reno (auto)",
              &S::congestion,
              kCongestion);
}

template <typename S>
void add_transport(OptionTable<S>& table) {
  table.value("--transport",
              "what waits for the sockets here: auto, uring (io_uring) or poll (auto)",
              &S::transport,
              named<kTransportChoiceNames>());
}

template <typename S, typename Member>
void add_timeout(OptionTable<S>& table, Member member) {
  table.value(
      "--timeout", "longest wait without progress before COMMIT (10s)", member, kPositiveDuration);
}

template <typename S>
void add_core_dumps(OptionTable<S>& table) {
  table.flag(
      "--dump-guest-core", "a core dump of this process holds guest memory too", &S::in_core_dumps);
}

template <typename S, typename Member>
void add_stall(OptionTable<S>& table, Member member) {
  table.value("--stall",
              "a link that moves nothing for so long after COMMIT is lost (30s)",
              member,
              kPositiveDuration);
}

template <typename S>
void add_trace(OptionTable<S>& table, const char* whose) {
  table.value("--trace",
              fmt::format("file that gets the trace of {}, for Perfetto and other viewers", whose),
              &S::trace,
              kText);
}

template <typename S, typename Member>
void add_cpu_priority(OptionTable<S>& table, Member member) {
  table.value("--cpu-priority",
              "who comes first when processors are short: auto (fair, and more where the migration "
              "would not end otherwise), guest, fair or migration (auto)",
              member,
              named<engine::kCpuPriorityNames>());
}

void add_planted(OptionTable<MigrationSettings>& table) {
  table.value("--inject",
              "plants a fault: flip-bit, drop-page, stale-page, skip-register, blackout-delay=D, "
              "fault-delay=D, cut-before-commit, cut-after-commit or outage=D",
              &MigrationSettings::planted,
              kPlantedFault);
  table.flag(
      "--no-checksum",
      "send frames without checksums",
      [](auto& settings) -> auto& { return settings.source.checksum; },
      false);
}

}  // namespace

OptionTable<GuestSettings> guest_options() {
  OptionTable<GuestSettings> table;
  table.value(
      "--guest", "auto, kvm or process", &GuestSettings::choice, named<kGuestChoiceNames>());
  table.value("--memory", "guest memory (1GiB)", &GuestSettings::memory_bytes, kSize);
  table.value("--populated",
              "memory written before the migration (all of it)",
              &GuestSettings::populated_bytes,
              kSize);
  table.value("--working-set",
              "memory that the workload touches (the smaller of 256MiB and half of the populated)",
              &GuestSettings::working_set_bytes,
              kSize);
  table.value(
      "--vcpus",
      "vCPUs or workers (1)",
      [](auto& guest) -> auto& { return guest.config.vcpus; },
      kCount);
  table.value(
      "--workload",
      vmm::kWorkloadNames.choices(),
      [](auto& guest) -> auto& { return guest.config.workload; },
      named<vmm::kWorkloadNames>());
  table.value(
      "--rate",
      "bytes touched per second by the whole guest, 0 = full speed (0)",
      [](auto& guest) -> auto& { return guest.config.rate_bytes_per_s; },
      kSize);
  table.value(
      "--fill",
      "initial content: random, compressible, zero or alternating, every second page zero (random)",
      [](auto& guest) -> auto& { return guest.config.fill; },
      named<vmm::kFillNames>());
  table.value(
      "--dirty-source",
      "how writes are noticed: auto, log or ring (KVM), wp or wp-async (process) (auto)",
      [](auto& guest) -> auto& { return guest.config.dirty; },
      named<vmm::kDirtyChoiceNames>());
  table.value(
      "--seed",
      "makes everything random in guest and injection (1)",
      [](auto& guest) -> auto& { return guest.config.seed; },
      kNumber);
  table.value(
      "--backing",
      "kind of guest memory: memfd, anonymous or hugetlb (memfd)",
      [](auto& guest) -> auto& { return guest.config.backing; },
      named<vmm::kBackingNames>());
  return table;
}

OptionTable<MigrationSettings> migration_options() {
  OptionTable<MigrationSettings> table;
  table.value(
      "--mode",
      "hybrid, precopy, postcopy or stop-and-copy (hybrid)",
      [](auto& settings) -> auto& { return settings.source.mode; },
      named<engine::kModeNames>());
  table.value(
      "--switch-after-rounds",
      "hybrid: pre-copy rounds before the switch (2)",
      [](auto& settings) -> auto& { return settings.source.switch_after_rounds; },
      kCount);
  table.value(
      "--max-rounds",
      "precopy: rounds at most (30)",
      [](auto& settings) -> auto& { return settings.source.max_rounds; },
      kCount);
  table.value(
      "--downtime-limit",
      "precopy: longest blackout (300ms)",
      [](auto& settings) -> auto& { return settings.source.downtime_limit_ns; },
      kDuration);
  table.value(
      "--on-no-convergence",
      "precopy: force or fail (force)",
      [](auto& settings) -> auto& { return settings.source.on_no_convergence; },
      named<kOnNoConvergenceNames>());
  table.value(
      "--max-bandwidth",
      "bytes/s of pre-copy and background pages, 0 = unlimited (0)",
      [](auto& settings) -> auto& { return settings.source.max_bandwidth; },
      kSize);
  table.value(
      "--channels",
      "connections that carry pages in bulk, 1 to 64 (1)",
      [](auto& settings) -> auto& { return settings.source.channels; },
      kChannelCount);
  add_cpu_priority(
      table, [](auto& settings) -> auto& { return settings.source.cpu_priority; });
  add_congestion(table);
  table.flag(
      "--prealloc", "populate the target's memory first", [](auto& settings) -> auto& {
        return settings.source.prealloc;
      });
  table.flag("--floors", "measure this machine's floors before", &MigrationSettings::floors);
  table.flag("--timeline",
             "report the guest's throughput every 10 ms; the migration begins 0.25 s later",
             &MigrationSettings::timeline);
  add_timeout(
      table, [](auto& settings) -> auto& { return settings.source.timeout_ns; });
  table.value(
      "--recover-for",
      "how long a link that is lost after COMMIT is dialled again before both sides hold, 0s: "
      "not at all (300s)",
      &MigrationSettings::recover_for_ns,
      kDuration);
  add_stall(
      table, [](auto& settings) -> auto& { return settings.source.stall_ns; });
  return table;
}

OptionTable<MigrationSettings> request_options() {
  auto table = migration_options();
  add_transport(table);
  add_planted(table);
  return table;
}

OptionTable<RunLine> run_options() {
  OptionTable<RunLine> table;
  add_control(table);
  table.all(guest_options(), &RunLine::guest);
  add_transport(table);
  add_core_dumps(table);
  return table;
}

OptionTable<ReceiveLine> receive_options() {
  OptionTable<ReceiveLine> table;
  add_control(table);
  table.value("--listen",
              "tcp:HOST:PORT, port 0: the kernel chooses; or unix:PATH (tcp:127.0.0.1:0)",
              &ReceiveLine::listen,
              kEndpoint);
  table.value("--memory", "largest guest that is accepted", &ReceiveLine::memory_cap, kSize);
  table.value("--backing",
              "kind of guest memory here: memfd, anonymous or hugetlb (the guest's)",
              &ReceiveLine::backing,
              named<vmm::kBackingNames>());
  add_congestion(table);
  add_transport(table);
  add_cpu_priority(table, &ReceiveLine::cpu_priority);
  add_timeout(table, &ReceiveLine::timeout_ns);
  table.value(
      "--recover-for",
      "0s: a source whose link is lost after READY is not waited for; else it is, without a "
      "limit (300s)",
      &ReceiveLine::recover_for_ns,
      kDuration);
  add_stall(table, &ReceiveLine::stall_ns);
  add_core_dumps(table);
  add_trace(table, "the target");
  table.hidden("--inject-drop-page", &ReceiveLine::drop_page, kPage);
  table.hidden_flag("--inject-skip-register", &ReceiveLine::skip_register);
  return table;
}

OptionTable<MigrateLine> migrate_options() {
  OptionTable<MigrateLine> table;
  add_control(table);
  table.required("--to", "tcp:HOST:PORT or unix:PATH of the target", &MigrateLine::to, kEndpoint);
  table.all(migration_options(), &MigrateLine::migration);
  OptionTable<MigrationSettings> transport;
  add_transport(transport);
  table.all(transport, &MigrateLine::migration);
  add_trace(table, "the source");
  add_json(table);
  return table;
}

OptionTable<RecoverLine> recover_options() {
  OptionTable<RecoverLine> table;
  add_control(table);
  table.value("--to",
              "tcp:HOST:PORT or unix:PATH at which the target is reached now (where it was)",
              &RecoverLine::to,
              kEndpoint);
  add_json(table);
  return table;
}

OptionTable<ClientLine> client_options() {
  OptionTable<ClientLine> table;
  add_control(table);
  add_json(table);
  return table;
}

OptionTable<ClientLine> report_options() {
  auto table = client_options();
  table.value("--migration",
              "which of the last eight migrations away from here, counted from 1 (the last)",
              &ClientLine::migration,
              kNumber);
  return table;
}

OptionTable<ClientLine> resume_options() {
  auto table = client_options();
  table.flag("--fence", "the target is dead: its guest does not run any more", &ClientLine::fence);
  table.flag("--yes", "what is lost by this has been read", &ClientLine::yes);
  return table;
}

OptionTable<ClientLine> switch_options() {
  auto table = client_options();
  table.flag("--force", "precopy: stop the guest whatever the blackout takes", &ClientLine::force);
  return table;
}

OptionTable<DemoLine> demo_options() {
  OptionTable<DemoLine> table;
  table.all(guest_options(), &DemoLine::guest);
  table.value("--listen",
              "where both meet, tcp:HOST:PORT or unix:PATH (tcp:127.0.0.1:0)",
              &DemoLine::listen,
              kEndpoint);
  table.value("--to", "the same as --listen", &DemoLine::to, kEndpoint);
  table.all(migration_options(), &DemoLine::migration);
  add_transport(table);
  add_trace(table, "source and target");
  add_json(table);
  OptionTable<MigrationSettings> planted;
  add_planted(planted);
  table.all(planted, &DemoLine::migration);
  table.value("--source-netns",
              "network namespace that the source runs in, by name or path (this one)",
              &DemoLine::source_netns,
              kText);
  table.value("--target-netns",
              "the same for the target; --listen names an address in it",
              &DemoLine::target_netns,
              kText);
  table.flag("--warm", "touch and free as much memory before, for steady figures", &DemoLine::warm);
  return table;
}

}  // namespace godwit::app
