#include "qemu/qemu_run.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/mapping.h"
#include "godwit/base/units.h"
#include "godwit/vmm/throughput.h"

#include "link/private_network.h"
#include "qemu/doorbell_reader.h"
#include "qemu/pc_image.h"
#include "qemu/qemu_process.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMigrationNs = 120 * kSecond;
constexpr std::int64_t kAnswerNs = 20 * kSecond;
/// A guest fills and sweeps at least this fast; firmware and slack come on top.
constexpr std::uint64_t kSlowestBytesPerS = 50 * kMiB;
constexpr std::int64_t kSlackNs = 60 * kSecond;
constexpr std::uint64_t kUnlimitedBytesPerS = 1ULL << 40;
/// Steps of the guest before the migration, at its steady pace, and after it.
constexpr std::size_t kSettledSteps = 100;
constexpr std::size_t kArrivedSteps = 16;
/// What a timeline shows before the migration and how long the guest then runs at the target, as
/// `godwit demo` does; the guest is left alone for a little longer than it shows.
constexpr std::int64_t kTimelineLeadNs = kSecond / 5;
constexpr std::int64_t kTimelineSettledNs = kSecond / 4;
constexpr std::int64_t kTimelineTailNs = 11 * kSecond / 10;

Deadline work_deadline(std::uint64_t bytes) {
  return Deadline::after_ns(kSlackNs +
                            static_cast<std::int64_t>(bytes / kSlowestBytesPerS + 1) * kSecond);
}

/// Makes the hypervisor give this host the memory that the target will take, as `--warm` does for
/// godwit.
void warm(std::uint64_t bytes) {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::uint64_t available = 0;
  while (file >> name && name != "MemAvailable:") {
  }
  file >> available;
  const auto most = std::min(bytes, available * kKiB / 2) / kPageBytes * kPageBytes;
  const auto memory = Mapping::anonymous(std::max<std::uint64_t>(most, kPageBytes));
  for (std::uint64_t at = 0; memory && at < most; at += kPageBytes) {
    *reinterpret_cast<volatile char*>(memory->data() + at) = 1;
  }
}

/// One migration. Members in the order in which they must end: processes before their files.
class Migration {
 public:
  Migration(const QemuPeer& peer,
            const QemuMode& mode,
            const GuestOptions& options,
            const Link* link,
            int interrupt_fd,
            TemporaryDirectory directory,
            PeerRun& run)
      : peer_(peer),
        mode_(mode),
        options_(options),
        interrupt_fd_(interrupt_fd),
        directory_(std::move(directory)),
        run_(run),
        link_(link) {}

  Status all() {
    if (link_ == nullptr) {
      network_ = make_peer_network(options_.congestion);
    } else {
      GODWIT_TRY_ASSIGN(network_.congestion, link_->congestion());
      GODWIT_TRY_ASSIGN(network_.name_space, link_->source().open());
      GODWIT_TRY_ASSIGN(target_site_, link_->target().open());
      if (options_.congestion != "auto" && options_.congestion != network_.congestion) {
        network_.note = fmt::format(
            "congestion control is {} on a link, not {}", network_.congestion, options_.congestion);
      }
    }
    GODWIT_TRY_ASSIGN(
        image_, write_pc_image(options_.guest, measure_counter_hz(), directory_.file("image")));
    GODWIT_TRY(boot());
    GODWIT_TRY(connect());
    GODWIT_TRY(migrate());
    GODWIT_TRY(arrive());
    GODWIT_TRY(ask_for_figures());
    note_figures();
    return sweep();
  }

 private:
  [[nodiscard]] bool prealloc() const {
    // Post-copy throws away what the target has before it starts.
    return options_.prealloc && !mode_.postcopy;
  }
  [[nodiscard]] bool writes() const {
    const auto workload = options_.guest.workload;
    return workload >= vmm::Workload::kSequentialWrite && workload <= vmm::Workload::kZipfWrite;
  }

  Result<std::unique_ptr<Qemu>> start(const char* name, bool target) {
    QemuSpec spec;
    spec.program = peer_.program;
    spec.name = name;
    spec.network_fd = target && link_ != nullptr ? target_site_.get() : network_.name_space.get();
    const auto bytes = options_.guest.memory_bytes;
    // The lowest common denominator of machines: a PC with one serial port. Lost ticks are not
    // made up for, so that no burst of steps follows a pause.
    spec.words = {"-machine",
                  fmt::format("pc,usb=off,max-ram-below-4g={},memory-backend=pc.ram", kPcLowBytes),
                  "-accel",
                  "kvm",
                  "-smp",
                  "1",
                  "-m",
                  fmt::format("{}M", bytes / kMiB),
                  "-object",
                  fmt::format("memory-backend-ram,id=pc.ram,size={}{}",
                              bytes,
                              target && prealloc() ? ",prealloc=on" : ""),
                  "-global",
                  "kvm-pit.lost_tick_policy=discard",
                  "-kernel",
                  directory_.file("image")};
    if (target) {
      spec.words.insert(spec.words.end(), {"-incoming", "defer"});
    }
    return Qemu::start(spec, directory_, interrupt_fd_);
  }

  Status boot() {
    GODWIT_TRY_ASSIGN(source_, start("source", false));
    run_.command = source_->command();
    GODWIT_TRY_ASSIGN(doorbells_, DoorbellReader::start(source_->take_serial()));
    GODWIT_TRY(doorbells_->wait([](const Doorbells& book) { return book.filled(); },
                                interrupt_fd_,
                                work_deadline(options_.guest.populated_bytes)));
    const auto before = doorbells_->book().steps();
    return doorbells_->wait(
        [before](const Doorbells& book) { return book.steps() >= before + kSettledSteps; },
        interrupt_fd_,
        Deadline::after_ns(kAnswerNs));
  }

  /// Lets the guest run on for so long; at once without a timeline.
  Status let_run(End end, std::int64_t ns) {
    if (!options_.timeline) {
      return {};
    }
    const auto until = monotonic_ns() + ns;
    return doorbells_->wait(
        [end, until](const Doorbells& book) {
          return !book.stamps(end).empty() && book.stamps(end).back() >= until;
        },
        interrupt_fd_,
        Deadline::after_ns(kAnswerNs));
  }

  /// Starts the target and brings both ends to the same settings.
  Status connect() {
    warm(options_.guest.populated_bytes);
    GODWIT_TRY_ASSIGN(target_, start("target", true));
    doorbells_->add_target(target_->take_serial());
    auto capabilities = Json::array();
    for (const auto& name : mode_.capabilities()) {
      capabilities.push_back({{"capability", name}, {"state", true}});
    }
    const auto bandwidth =
        options_.max_bandwidth != 0 ? options_.max_bandwidth : kUnlimitedBytesPerS;
    Json parameters{{"max-bandwidth", bandwidth},
                    {"max-postcopy-bandwidth", options_.max_bandwidth},
                    {"downtime-limit", downtime_limit_ms()}};
    if (mode_.channels != 0) {
      parameters["multifd-channels"] = mode_.channels;
    }
    for (auto* qemu : {source_.get(), target_.get()}) {
      GODWIT_TRY(qemu->qmp().execute("migrate-set-capabilities", {{"capabilities", capabilities}}));
      GODWIT_TRY(qemu->qmp().execute("migrate-set-parameters", parameters));
    }
    settings_ = parameters;
    const std::string host = link_ != nullptr ? Link::kTargetAddress : "127.0.0.1";
    GODWIT_TRY(
        target_->qmp().execute("migrate-incoming", {{"uri", fmt::format("tcp:{}:0", host)}}));
    GODWIT_TRY_ASSIGN(const auto listening, target_->qmp().execute("query-migrate"));
    const auto port = text_at(listening, "/socket-address/0/port");
    if (port.empty()) {
      return fail(ErrorCode::kProtocol, "QEMU", "the target does not tell its port");
    }
    uri_ = fmt::format("tcp:{}:{}", host, port);
    return {};
  }

  /// The largest gap that pre-copy may aim at. In post-copy the least, so that pre-copy does not
  /// converge before its turn is over. (With 0 QEMU 7.2 stops the guest after the first pass,
  /// without another look at what is dirty.)
  [[nodiscard]] std::int64_t downtime_limit_ms() const {
    return mode_.postcopy ? 1 : std::max<std::int64_t>(options_.downtime_limit_ns / 1'000'000, 1);
  }
  /// A guest that does not write converges at the end of its first pass, before any command: for a
  /// post-copy to happen it must come before.
  [[nodiscard]] std::uint64_t switch_after() const {
    return writes() ? options_.switch_after_rounds : 0;
  }

  Status migrate() {
    GODWIT_TRY(let_run(End::kSource, kTimelineSettledNs));
    const auto deadline = Deadline::after_ns(kMigrationNs);
    cpu_source_ns_ = -source_->cpu_ns();
    cpu_target_start_ns_ = target_->cpu_ns();
    began_ns_ = monotonic_ns();
    GODWIT_TRY(source_->qmp().execute("migrate", {{"uri", uri_}}));
    bool switched = !mode_.postcopy;
    for (;;) {
      auto event = source_->qmp().event(deadline);
      if (!event && event.error().code == ErrorCode::kTimeout) {
        return fail(
            ErrorCode::kTimeout,
            "QEMU",
            fmt::format("not complete after {} s: it does not converge", kMigrationNs / kSecond));
      }
      GODWIT_TRY(event);
      const auto status =
          event->name == "MIGRATION" ? text_at(event->body, "/status") : std::string();
      in_postcopy_ = in_postcopy_ || status == "postcopy-active";
      if (status == "completed") {
        total_ns_ = event->stamp_ns - began_ns_;
        break;
      }
      if (status == "failed" || status == "cancelled") {
        return failed();
      }
      if (!switched && due(*event, status)) {
        switched = true;
        GODWIT_TRY(source_->qmp().execute("migrate-start-postcopy"));
      }
    }
    cpu_source_ns_ += source_->cpu_ns();
    return {};
  }

  /// QEMU announces that it is complete before it has worked out its times: until then both are 0.
  Status ask_for_figures() {
    const auto deadline = Deadline::after_ns(kAnswerNs);
    for (;;) {
      GODWIT_TRY_ASSIGN(answer_, source_->qmp().execute("query-migrate"));
      if (number_at(answer_, "/total-time") > 0) {
        return {};
      }
      if (deadline.passed()) {
        return fail(ErrorCode::kTimeout, "QEMU", "the source does not tell its times");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  /// When the last pass begins that godwit's hybrid mode would make (pass n is announced then), but
  /// not before the first full one is over. Not later: QEMU heeds the command between two slices of
  /// up to 50 ms, and on a fast link nothing would be left for post-copy.
  [[nodiscard]] bool due(const QmpMessage& event, const std::string& status) const {
    if (switch_after() == 0) {
      return status == "active";
    }
    return event.name == "MIGRATION_PASS" &&
           number_at(event.body, "/pass") >=
               static_cast<double>(std::max<std::uint64_t>(switch_after(), 2));
  }

  Status failed() {
    std::string why = "the migration failed";
    for (auto* qemu : {source_.get(), target_.get()}) {
      const auto answer = qemu->qmp().execute("query-migrate");
      if (const auto text = answer ? text_at(*answer, "/error-desc") : ""; !text.empty()) {
        why += ": " + text;
      }
    }
    return fail(ErrorCode::kRefused, "QEMU", why);
  }

  /// Waits until the target has everything, and its guest goes on.
  Status arrive() {
    const auto deadline = Deadline::after_ns(kMigrationNs);
    for (;;) {
      GODWIT_TRY_ASSIGN(const auto event, target_->qmp().event(deadline));
      const auto status = text_at(event.body, "/status");
      if (event.name == "MIGRATION" && status == "completed") {
        break;
      }
      if (event.name == "MIGRATION" && status == "failed") {
        return failed();
      }
    }
    cpu_target_ns_ = target_->cpu_ns();
    GODWIT_TRY(doorbells_->wait(
        [](const Doorbells& book) { return book.stamps(End::kTarget).size() >= kArrivedSteps; },
        interrupt_fd_,
        Deadline::after_ns(kAnswerNs)));
    return let_run(End::kTarget, kTimelineTailNs);
  }

  /// The blackout is what the guest saw of it: QEMU does not tell when it stops and starts it.
  void note_timeline(const Doorbells& book) {
    using vmm::Throughput;
    const auto stopped_ns = book.stamps(End::kSource).back();
    const auto resumed_ns = book.stamps(End::kTarget).front();
    // Of the last step's interval and the one before it the guest may not have told all.
    const auto seen = book.throughput(Throughput::number_of(began_ns_ - kTimelineLeadNs),
                                      Throughput::number_of(book.stamps(End::kTarget).back()) - 1);
    auto& report = run_.report;
    report["guest"] = {{"workload", vmm::workload_name(options_.guest.workload)}};
    report["timeline"] = {{"interval_ns", Throughput::kIntervalNs},
                          {"start_ns", seen.first * Throughput::kIntervalNs - began_ns_},
                          {"touches", seen.touches}};
    auto phases = Json::array();
    const auto add = [&](const char* name, std::int64_t from_ns, std::int64_t to_ns) {
      if (from_ns < to_ns) {
        phases.push_back({{"name", name}, {"start_ns", from_ns}, {"end_ns", to_ns}});
      }
    };
    add("precopy", 0, stopped_ns - began_ns_);
    add("blackout", stopped_ns - began_ns_, resumed_ns - began_ns_);
    add("postcopy", resumed_ns - began_ns_, total_ns_);
    report["phases"] = std::move(phases);
    const auto figures = vmm::figures_of(
        seen,
        {.began_ns = began_ns_, .blackout_end_ns = resumed_ns, .ended_ns = began_ns_ + total_ns_});
    if (figures.recovery_ns) {
      run_.figures["recovery_ns"] = *figures.recovery_ns;
    }
    if (figures.valley) {
      run_.figures["valley"] = *figures.valley;
    }
  }

  void note_figures() {
    const auto book = doorbells_->book();
    auto& figures = run_.figures;
    figures["total_ns"] = total_ns_;
    figures.update(qemu_figures(answer_));
    figures["guest_gap_ns"] = book.gap_ns();
    figures["largest_stall_ns"] = book.largest_stall_ns(began_ns_, INT64_MAX);
    figures["cpu_source_ns"] = cpu_source_ns_;
    figures["cpu_target_ns"] = cpu_target_ns_;
    if (options_.timeline) {
      note_timeline(book);
    }
    const auto requests = number_at(answer_, "/ram/postcopy-requests");
    auto& report = run_.report["qemu"];
    report["parameters"] = settings_;
    report["capabilities"] = mode_.capabilities();
    report["switch_after_rounds"] = mode_.postcopy ? Json(switch_after()) : Json();
    report["prealloc"] = prealloc();
    report["congestion"] = network_.congestion;
    report["own_network"] = network_.name_space.valid();
    report["page_requests"] = requests;
    // The figure counts from the start of the process, as godwit's does.
    report["cpu_target_before_ns"] = cpu_target_start_ns_;
    report["steps"] = book.steps();
    report["query_migrate"] = answer_;
    auto notes = Json::array();
    if (!network_.note.empty()) {
      notes.push_back(network_.note);
    }
    if (options_.prealloc && mode_.postcopy) {
      notes.push_back("memory is not populated beforehand: post-copy would discard it");
    }
    if (mode_.postcopy && !writes()) {
      notes.push_back(fmt::format(
          "the guest does not write: post-copy from the start, {} page requests", requests));
    }
    report["notes"] = notes;
    if (mode_.postcopy && !in_postcopy_) {
      run_.reason = "pre-copy converged before post-copy could begin";
    } else if (mode_.postcopy && writes() && requests <= static_cast<double>(kPageRequestsMin)) {
      run_.reason = fmt::format("only {} page requests: no post-copy to speak of", requests);
    }
  }

  Status sweep() {
    GODWIT_TRY(doorbells_->ask_for_sweep());
    GODWIT_TRY(doorbells_->wait([](const Doorbells& book) { return book.sweep().done; },
                                interrupt_fd_,
                                work_deadline(options_.guest.populated_bytes)));
    const auto answer = doorbells_->book().sweep();
    run_.report["qemu"]["verified"] = {{"pages_expected", image_.data_pages},
                                       {"pages_checked", answer.checked},
                                       {"mismatches", answer.mismatches}};
    if (answer.checked != image_.data_pages || answer.mismatches != 0) {
      return fail(ErrorCode::kGuest,
                  "sweep",
                  fmt::format("{} of {} pages checked, {} wrong, the first is data page {}",
                              answer.checked,
                              image_.data_pages,
                              answer.mismatches,
                              answer.first_bad_page));
    }
    return {};
  }

  const QemuPeer& peer_;
  const QemuMode& mode_;
  const GuestOptions& options_;
  const int interrupt_fd_;
  const TemporaryDirectory directory_;
  PeerRun& run_;
  const Link* link_;
  PeerNetwork network_;  // of both, or of the source's end of the link
  Fd target_site_;       // of the target's end
  PcImage image_;
  std::unique_ptr<Qemu> source_;
  std::unique_ptr<Qemu> target_;
  std::unique_ptr<DoorbellReader> doorbells_;
  std::string uri_;
  Json settings_;
  Json answer_;
  bool in_postcopy_ = false;
  std::int64_t began_ns_ = 0;
  std::int64_t total_ns_ = 0;
  std::int64_t cpu_source_ns_ = 0;
  std::int64_t cpu_target_start_ns_ = 0;
  std::int64_t cpu_target_ns_ = 0;
};

}  // namespace

Json qemu_figures(const Json& query_migrate) {
  auto figures = Json::object();
  const auto take = [&](const char* name, const char* pointer, double factor) {
    if (const auto value = number_at(query_migrate, pointer, -1); value >= 0) {
      figures[name] = value * factor;
    }
  };
  take("downtime_ns", "/downtime", 1e6);
  take("wire_bytes", "/ram/transferred", 1);
  return figures;
}

PeerRun run_qemu(const QemuPeer& peer,
                 const QemuMode& mode,
                 const GuestOptions& options,
                 const Link* link,
                 int interrupt_fd) {
  PeerRun run;
  run.peer = {{"name", "qemu"}, {"version", peer.version}, {"mode", mode.name}};
  auto directory = TemporaryDirectory::create();
  if (!directory) {
    run.reason = directory.error().message();
    return run;
  }
  Migration migration(peer, mode, options, link, interrupt_fd, std::move(*directory), run);
  if (const auto done = migration.all(); !done) {
    run.interrupted = done.error().code == ErrorCode::kCancelled;
    run.reason = done.error().message();
  }
  return run;
}

}  // namespace godwit::lab
