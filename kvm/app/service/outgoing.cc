#include "service/outgoing.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/base/units.h"
#include "godwit/net/transport.h"

#include "cli/units_text.h"
#include "control/timeouts.h"
#include "demo/plant.h"
#include "host/capabilities.h"
#include "host/memory.h"
#include "report/report_json.h"
#include "report/timeline.h"

namespace godwit::app {
namespace {

constexpr int kSamplesAProgress = 20;  ///< with a trace

/// A migration takes memory of the source, too; a memory group that has none left ends the process, and
/// with it the guest.
Status check_memory(const vmm::Guest& guest, std::uint32_t channels) {
  constexpr std::uint64_t kBaseBytes = 4 * kMiB;
  constexpr std::uint64_t kChannelBytes = 640 * kKiB;  // two frames, and what its socket holds
  constexpr std::uint64_t kBookBytesPage = 2;
  const auto needed =
      kBaseBytes + channels * kChannelBytes + guest.memory().page_count() * kBookBytesPage;
  if (const auto available = available_memory(); available < needed) {
    return fail(
        ErrorCode::kNoMemory,
        "memory",
        fmt::format("a migration over {} channels needs {} here, {} are available (host and "
                    "cgroup limits){}",
                    channels,
                    size_text(needed),
                    size_text(available),
                    channels > 1 ? "; use fewer --channels" : ""));
  }
  return {};
}

/// How long a step of the slowest vCPU took on average while the guest was being migrated.
std::int64_t mean_step_ns(const vmm::GuestTelemetry& before, const vmm::GuestTelemetry& after) {
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < before.vcpus.size() && i < after.vcpus.size(); ++i) {
    const auto steps = after.vcpus[i].steps - before.vcpus[i].steps;
    if (steps > 0) {
      const auto elapsed = after.vcpus[i].last_step_ns - before.vcpus[i].last_step_ns;
      longest = std::max(longest, elapsed / static_cast<std::int64_t>(steps));
    }
  }
  return longest;
}

}  // namespace

Result<std::shared_ptr<Outgoing>> Outgoing::prepare(const MigrationRequest& request,
                                                    TransportChoice ours,
                                                    vmm::Guest& guest,
                                                    ControlConnection& client) {
  std::shared_ptr<Outgoing> outgoing(new Outgoing(request, guest));
  const auto& settings = request.settings;
  // The note was said when the process started; the report names the transport as well.
  GODWIT_TRY_ASSIGN(const auto loop, resolve_transport(settings.transport.value_or(ours)));
  outgoing->loop_ = loop.choice;
  auto& options = outgoing->options_;
  options = settings.source;
  options.recover_for_ns = recover_for(settings);
  GODWIT_TRY(check_memory(guest, options.channels));
  GODWIT_TRY_ASSIGN(outgoing->plant_, plan_plant(guest.config(), settings.planted));
  options.planted_loss = outgoing->plant_.candidates;
  GODWIT_TRY_ASSIGN(outgoing->transport_, outgoing->make_transport(request.to));
  if (settings.floors) {
    GODWIT_TRY(outgoing->measure(client));
  }
  return outgoing;
}

Result<std::unique_ptr<engine::Transport>> Outgoing::make_transport(const std::string& to) const {
  GODWIT_TRY_ASSIGN(const auto address, net::parse_endpoint(to));
  return net::make_transport(loop_,
                             {.peer = address,
                              .congestion = request_.settings.congestion,
                              .max_bandwidth = options_.max_bandwidth,
                              .bulk_connections = options_.channels});
}

Status Outgoing::recover(const std::string& to) {
  // The old one may have been interrupted, for good.
  GODWIT_TRY_ASSIGN(auto transport, make_transport(to.empty() ? request_.to : to));
  if (!session_->recover(transport.get())) {
    return fail(ErrorCode::kState,
                "",
                "the target did not offer to take up a lost link, or the session is not held");
  }
  other_transport_ = std::move(transport);
  return {};
}

Status Outgoing::measure(ControlConnection& client) {
  engine::Progress floors;
  floors.phase = "Floors";
  [[maybe_unused]] const auto sent = client.offer(progress_json(floors));
  GODWIT_TRY_ASSIGN(input_.floors, measure_floors(guest_, request_.settings.congestion));
  return {};
}

void Outgoing::open() {
  if (plant_.fault == PlantedKind::kNone) {
    session_ = std::make_unique<engine::SourceSession>(guest_, *transport_, options_);
  } else {
    planted_.emplace(guest_, *transport_, plant_);
    session_ =
        std::make_unique<engine::SourceSession>(planted_->guest(), planted_->transport(), options_);
  }
  guest_.reset_stall();
  before_ = guest_.telemetry();
  cpu_began_ns_ = process_cpu_ns();
}

void Outgoing::follow(ControlConnection& client) {
  report_progress(client);
  input_.config = guest_.config();
  input_.settings = request_.settings;
  input_.migration = session_->wait();
  input_.cpu_ns = process_cpu_ns() - cpu_began_ns_;
  input_.memory = process_memory(guest_.memory());
  input_.telemetry = guest_.telemetry();
  if (plant_.fault == PlantedKind::kFlipBit) {
    input_.migration.planted_page = plant_.page;
  }
}

void Outgoing::report_progress(ControlConnection& client) {
  const int ticks = request_.trace ? kSamplesAProgress : 1;
  const auto sample = [&](const engine::Progress& progress) {
    if (request_.trace) {
      samples_.add({monotonic_ns(), progress.sent_bytes, progress.remaining_pages});
    }
  };
  std::mutex mutex;
  std::condition_variable wake;
  bool ended = false;
  auto ticker = try_start_thread("progress", ThreadRole::kUrgent, [&] {
    std::unique_lock lock(mutex);
    for (int tick = 1; !wake.wait_for(lock, kProgressInterval / ticks, [&ended] { return ended; });
         ++tick) {
      const auto progress = session_->progress();
      sample(progress);
      if (tick % ticks == 0) {
        // A client that went away does not end the migration: it asked for it.
        [[maybe_unused]] const auto sent = client.offer(progress_json(progress));
      }
    }
  });
  if (!ticker) {
    log_warn("no progress is shown: {}", ticker.error().message());
  }
  session_->wait();
  {
    const std::lock_guard lock(mutex);
    ended = true;
  }
  wake.notify_all();
  if (ticker) {
    ticker->join();
  }
  sample(session_->progress());
}

MigrationResult Outgoing::result() const {
  MigrationResult result;
  result.report = source_report(input_);
  auto& answer = result.answer;
  answer.telemetry = input_.telemetry;
  answer.mean_step_ns = mean_step_ns(before_, input_.telemetry);
  if (request_.settings.timeline) {
    answer.timeline = source_timeline(guest_, input_.migration);
    add_timeline(result.report, *answer.timeline);
  }
  answer.report = report_json(result.report);
  if (request_.trace) {
    result.trace = source_trace_json(input_.migration, samples_.taken());
  }
  return result;
}

}  // namespace godwit::app
