#include "qemu/qemu_run.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/mapping.h"
#include "godwit/base/units.h"

#include "link/private_network.h"
#include "qemu/doorbell_reader.h"
#include "qemu/pc_image.h"
#include "qemu/qemu_figures.h"
#include "qemu/qemu_process.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMigrationNs = 120 * kSecond;
constexpr std::int64_t kAnswerNs = 20 * kSecond;
/// A guest fills and sweeps at least this fast; firmware and slack come on top.
constexpr std::uint64_t kSlowestBytesPerS = 50 * kMiB;
constexpr std::int64_t kSlackNs = 60 * kSecond;
/// Steps of the guest before the migration, at its steady pace, and after it.
constexpr std::size_t kSettledSteps = 100;
constexpr std::size_t kArrivedSteps = 16;
/// For a timeline the guest is left alone for a little longer than it shows before the migration,
/// and then runs at the target for as long as in `godwit demo`.
constexpr std::int64_t kTimelineSettledNs = kTimelineLeadNs + kSecond / 20;
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
            const QemuPlan& plan,
            const PeerPlace& place,
            TemporaryDirectory directory,
            PeerRun& run)
      : peer_(peer),
        plan_(plan),
        interrupt_fd_(place.interrupt_fd),
        cgroup_fd_(place.cgroup_fd),
        directory_(std::move(directory)),
        run_(run),
        link_(place.link) {}

  Status all() {
    if (link_ == nullptr) {
      network_ = make_peer_network(plan_.options.congestion);
    } else {
      GODWIT_TRY_ASSIGN(network_.congestion, link_->congestion());
      GODWIT_TRY_ASSIGN(network_.name_space, link_->source().open());
      GODWIT_TRY_ASSIGN(target_site_, link_->target().open());
      if (plan_.options.congestion != "auto" && plan_.options.congestion != network_.congestion) {
        network_.note = fmt::format("congestion control is {} on a link, not {}",
                                    network_.congestion,
                                    plan_.options.congestion);
      }
    }
    GODWIT_TRY_ASSIGN(
        image_,
        write_pc_image(plan_.options.guest, measure_counter_hz(), directory_.file("image")));
    GODWIT_TRY(boot());
    GODWIT_TRY(connect());
    GODWIT_TRY(migrate());
    GODWIT_TRY(arrive());
    GODWIT_TRY(ask_for_figures());
    course_.doorbells = doorbells_->book();
    note_course(course_, plan_, network_, run_);
    return sweep();
  }

 private:
  Result<std::unique_ptr<Qemu>> start(const char* name, bool target) {
    QemuSpec spec;
    spec.program = peer_.program;
    spec.name = name;
    spec.network_fd = target && link_ != nullptr ? target_site_.get() : network_.name_space.get();
    spec.cgroup_fd = cgroup_fd_;
    const auto bytes = plan_.options.guest.memory_bytes;
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
                              target && plan_.prealloc() ? ",prealloc=on" : ""),
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
                                work_deadline(plan_.options.guest.populated_bytes)));
    const auto before = doorbells_->book().steps();
    return doorbells_->wait(
        [before](const Doorbells& book) { return book.steps() >= before + kSettledSteps; },
        interrupt_fd_,
        Deadline::after_ns(kAnswerNs));
  }

  /// Lets the guest run on for so long; at once without a timeline.
  Status let_run(End end, std::int64_t ns) {
    if (!plan_.options.timeline) {
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
    warm(plan_.options.guest.populated_bytes);
    GODWIT_TRY_ASSIGN(target_, start("target", true));
    doorbells_->add_target(target_->take_serial());
    for (auto* qemu : {source_.get(), target_.get()}) {
      GODWIT_TRY(qemu->qmp().execute("migrate-set-capabilities", plan_.capabilities()));
      GODWIT_TRY(qemu->qmp().execute("migrate-set-parameters", plan_.parameters()));
    }
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

  Status migrate() {
    GODWIT_TRY(let_run(End::kSource, kTimelineSettledNs));
    const auto deadline = Deadline::after_ns(kMigrationNs);
    course_.cpu_source_ns = -source_->cpu_ns();
    course_.cpu_target_before_ns = target_->cpu_ns();
    course_.began_ns = monotonic_ns();
    GODWIT_TRY(source_->qmp().execute("migrate", {{"uri", uri_}}));
    bool switched = !plan_.mode.postcopy;
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
      course_.in_postcopy = course_.in_postcopy || status == "postcopy-active";
      if (status == "completed") {
        course_.total_ns = event->stamp_ns - course_.began_ns;
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
    course_.cpu_source_ns += source_->cpu_ns();
    return {};
  }

  /// QEMU announces that it is complete before it has worked out its times: until then both are 0.
  Status ask_for_figures() {
    const auto deadline = Deadline::after_ns(kAnswerNs);
    for (;;) {
      GODWIT_TRY_ASSIGN(course_.answer, source_->qmp().execute("query-migrate"));
      if (number_at(course_.answer, "/total-time") > 0) {
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
    if (plan_.switch_after() == 0) {
      return status == "active";
    }
    return event.name == "MIGRATION_PASS" &&
           number_at(event.body, "/pass") >=
               static_cast<double>(std::max<std::uint64_t>(plan_.switch_after(), 2));
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
    course_.cpu_target_ns = target_->cpu_ns();
    GODWIT_TRY(doorbells_->wait(
        [](const Doorbells& book) { return book.stamps(End::kTarget).size() >= kArrivedSteps; },
        interrupt_fd_,
        Deadline::after_ns(kAnswerNs)));
    return let_run(End::kTarget, kTimelineTailNs);
  }

  Status sweep() {
    GODWIT_TRY(doorbells_->ask_for_sweep());
    GODWIT_TRY(doorbells_->wait([](const Doorbells& book) { return book.sweep().done; },
                                interrupt_fd_,
                                work_deadline(plan_.options.guest.populated_bytes)));
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
  const QemuPlan& plan_;
  const int interrupt_fd_;
  const int cgroup_fd_;
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
  QemuCourse course_;
};

}  // namespace

PeerRun run_qemu(const QemuPeer& peer, const QemuPlan& plan, const PeerPlace& place) {
  PeerRun run;
  run.peer = {{"name", "qemu"}, {"version", peer.version()}, {"mode", plan.mode.name}};
  auto directory = TemporaryDirectory::create();
  if (!directory) {
    run.reason = directory.error().message();
    return run;
  }
  Migration migration(peer, plan, place, std::move(*directory), run);
  if (const auto done = migration.all(); !done) {
    run.interrupted = done.error().code == ErrorCode::kCancelled;
    run.reason = done.error().message();
  }
  return run;
}

}  // namespace godwit::lab
