// A guest without a hypervisor: one thread a vCPU, running the very workload that the KVM payload
// runs, over memory that is migrated like any other. What a hypervisor would keep in registers
// (generation sum, position, canaries) the workers keep outside of guest memory, and it travels as
// machine state. A worker parks between two touches, so a saved state is always between touches
// too.
//
// The counter is CLOCK_MONOTONIC plus an offset. On one boot the offset travels and the counter is
// exact; to another host it is set so that the counter goes on with real time: a restored counter
// cannot hide time.

#include "process/process_guest.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"

#include "common/dirty_sources.h"
#include "common/guest_memory.h"
#include "kvm/state_codec.h"
#include "process/process_worker.h"

namespace godwit::vmm {
namespace {

constexpr std::uint64_t kCounterHz = 1'000'000'000;
constexpr const char* kWorkerSection = "worker";
constexpr const char* kClockSection = "clock";
constexpr std::uint32_t kWorkerVersion = 2;
constexpr std::uint32_t kClockVersion = 1;
constexpr std::size_t kBootIdBytesMax = 64;

engine::StateSection encode_worker(const WorkerState& state, std::uint32_t instance) {
  const auto& workload = state.workload;
  StateWriter out;
  for (const auto field : {workload.started,
                           workload.fill_next,
                           workload.rng,
                           workload.cursor,
                           workload.step,
                           workload.step_start,
                           workload.longest,
                           workload.pace_base,
                           workload.pace_touches,
                           workload.touches}) {
    out.u64(field);
  }
  out.u32(workload.slow_count);
  out.u32(workload.sweeping);
  out.u64(state.generation_sum);
  for (const auto canary : state.canaries) {
    out.u64(canary);
  }
  out.u32(state.filled ? 1 : 0);
  engine::StateSection section;
  section.name = kWorkerSection;
  section.instance = instance;
  section.version = kWorkerVersion;
  section.payload = out.take();
  return section;
}

/// Checks what a damaged or hostile state could do harm with: everything that indexes memory.
Result<WorkerState> decode_worker(const engine::StateSection& section, const WorkloadPlan& plan) {
  const auto refuse = [&](const char* what) {
    return fail(ErrorCode::kRefused,
                "load worker state",
                fmt::format("worker {}: {}", section.instance, what));
  };
  if (section.version != kWorkerVersion) {
    return refuse("unknown version");
  }
  WorkerState state;
  auto& workload = state.workload;
  StateReader in(section.payload);
  for (auto* field : {&workload.started,
                      &workload.fill_next,
                      &workload.rng,
                      &workload.cursor,
                      &workload.step,
                      &workload.step_start,
                      &workload.longest,
                      &workload.pace_base,
                      &workload.pace_touches,
                      &workload.touches}) {
    *field = in.u64();
  }
  workload.slow_count = in.u32();
  workload.sweeping = in.u32();
  state.generation_sum = in.u64();
  for (auto& canary : state.canaries) {
    canary = in.u64();
  }
  const auto filled = in.u32();
  if (!in.done()) {
    return refuse("wrong size");
  }
  const auto slice = guest::slice_of(plan.data_pages, plan.params.vcpus, section.instance);
  const bool in_slice = workload.fill_next >= slice.first && workload.fill_next <= slice.end;
  if (workload.started > 1 || filled > 1 || workload.sweeping > 1 ||
      (workload.started == 1 && !in_slice) || workload.cursor >= plan.params.working_set_pages ||
      workload.slow_count > guest::kSlowTouchesPerStep ||
      (filled == 1) != (workload.started == 1 && workload.fill_next == slice.end) ||
      workload.pace_touches > (1U << 17)) {
    return refuse("a field is outside its range");
  }
  state.filled = filled == 1;
  return state;
}

class ProcessGuest final : public Guest {
 public:
  ProcessGuest(const GuestConfig& config,
               WorkloadPlan plan,
               OwnedMemory memory,
               const ProcessGuestOptions& options)
      : config_(config),
        plan_(plan),
        memory_(std::move(memory)),
        options_(options),
        steps_(config.vcpus, kCounterHz),
        control_(config.vcpus),
        instrumented_(config.vcpus),
        populated_(memory_.populated()) {
    const WorkerShared shared{plan_, memory_.view(), steps_, control_, instrumented_};
    for (std::uint32_t i = 0; i < config_.vcpus; ++i) {
      workers_.push_back(std::make_unique<ProcessWorker>(shared, i));
    }
  }
  ~ProcessGuest() override { stop(); }
  ProcessGuest(const ProcessGuest&) = delete;
  ProcessGuest& operator=(const ProcessGuest&) = delete;

  Status boot() override;
  [[nodiscard]] bool filled() const override { return control_.filled(); }
  Result<SweepResult> sweep(Deadline deadline) override;
  [[nodiscard]] GuestTelemetry telemetry() const override { return steps_.telemetry(); }
  [[nodiscard]] Throughput throughput(std::int64_t first, std::int64_t end) const override {
    return steps_.throughput(first, end);
  }
  void reset_stall() override { steps_.reset_stall(); }
  void stop() override;
  [[nodiscard]] const GuestConfig& config() const override { return config_; }
  [[nodiscard]] const engine::GuestMemory& memory() const override { return memory_.view(); }

  engine::MachineDescription describe() override;
  engine::PopulatedScan& populated() override { return *populated_; }
  engine::DirtySource* dirty_source(std::string& why) override;
  Result<engine::RunEdge> quiesce() override;
  Result<std::vector<engine::StateSection>> save_state() override;
  Status resume() override;

  Status load_state(std::span<const engine::StateSection> sections) override;
  Status run() override;
  [[nodiscard]] engine::RunEdge run_edge() const override;

 private:
  enum class Phase { kNew, kLoaded, kRunning, kPaused, kStopped };
  /// What load_state() has understood before it changes anything.
  struct Loaded {
    std::vector<std::optional<WorkerState>> workers;
    const engine::StateSection* telemetry = nullptr;
    std::optional<std::int64_t> counter_offset_ns;
  };

  static Status wrong_phase(const char* operation, const char* need) {
    return fail(ErrorCode::kState, operation, need);
  }
  [[nodiscard]] engine::StateSection encode_clock() const;
  Status decode_clock(const engine::StateSection& section, Loaded& loaded) const;
  Status understand(const engine::StateSection& section, Loaded& loaded) const;
  void apply(Loaded& loaded);
  [[nodiscard]] std::unique_ptr<engine::DirtySource> protecting_source(std::string& why) const;
  Status start_workers();
  void go();

  const GuestConfig config_;
  const WorkloadPlan plan_;
  OwnedMemory memory_;
  const ProcessGuestOptions options_;
  StepLog steps_;
  SweepControl control_;
  InstrumentedSource instrumented_;
  std::unique_ptr<engine::PopulatedScan> populated_;
  std::unique_ptr<engine::DirtySource> write_protect_;
  engine::DirtySource* dirty_ = nullptr;
  std::int64_t counter_offset_ns_ = 0;
  Phase phase_ = Phase::kNew;
  std::vector<std::unique_ptr<ProcessWorker>> workers_;
};

// ----------------------------------------------------------------------------------------- running

Status ProcessGuest::start_workers() {
  for (const auto& worker : workers_) {
    GODWIT_TRY(worker->start());
  }
  return {};
}

void ProcessGuest::go() {
  steps_.entering(monotonic_ns());
  for (const auto& worker : workers_) {
    worker->go();
  }
  phase_ = Phase::kRunning;
}

Status ProcessGuest::boot() {
  if (phase_ != Phase::kNew) {
    return wrong_phase("boot", "the guest was started already");
  }
  write_workload(plan_, memory_.view());
  GODWIT_TRY(start_workers());
  go();
  return {};
}

Result<SweepResult> ProcessGuest::sweep(Deadline deadline) {
  if (phase_ != Phase::kRunning) {
    return fail(ErrorCode::kState, "sweep", "the guest does not run");
  }
  return control_.run(deadline, plan_, memory_.view(), *populated_);
}

void ProcessGuest::stop() {
  control_.request_stop();
  for (const auto& worker : workers_) {
    worker->stop();
  }
  phase_ = Phase::kStopped;
}

Result<engine::RunEdge> ProcessGuest::quiesce() {
  if (phase_ != Phase::kRunning) {
    return fail(ErrorCode::kState, "quiesce", "the guest does not run");
  }
  for (const auto& worker : workers_) {
    worker->request_park();
  }
  engine::RunEdge edge;
  for (const auto& worker : workers_) {
    const auto stamp = worker->wait_parked();
    edge.first_ns = edge.first_ns == 0 ? stamp : std::min(edge.first_ns, stamp);
    edge.last_ns = std::max(edge.last_ns, stamp);
  }
  phase_ = Phase::kPaused;
  return edge;
}

Status ProcessGuest::resume() {
  if (phase_ == Phase::kRunning) {
    return {};
  }
  if (phase_ != Phase::kPaused) {
    return wrong_phase("resume", "the guest was not paused");
  }
  go();
  return {};
}

Status ProcessGuest::run() {
  if (phase_ != Phase::kLoaded) {
    return wrong_phase("run", "no state was loaded");
  }
  go();
  return {};
}

engine::RunEdge ProcessGuest::run_edge() const {
  engine::RunEdge edge;
  for (const auto& worker : workers_) {
    const auto stamp = worker->entered_ns();
    if (stamp == 0) {
      edge.last_ns = 0;  // somebody has not entered yet; the first may have
      continue;
    }
    edge.first_ns = edge.first_ns == 0 ? stamp : std::min(edge.first_ns, stamp);
    edge.last_ns = std::max(edge.last_ns, stamp);
  }
  return edge;
}

// ---------------------------------------------------------------------------------- migrating away

engine::MachineDescription ProcessGuest::describe() {
  engine::MachineDescription description;
  description.regions = region_layout(config_.memory_bytes);
  description.vcpus = config_.vcpus;
  description.kind = std::string(kind_name(config_.kind));
  description.config.push_back(encode_config(config_));
  return description;
}

engine::DirtySource* ProcessGuest::dirty_source(std::string& why) {
  if (dirty_ != nullptr) {
    return dirty_;
  }
  if (!options_.force_instrumented) {
    write_protect_ = protecting_source(why);
    dirty_ = write_protect_.get();
  }
  if (dirty_ == nullptr && config_.dirty == DirtyChoice::kAuto) {
    dirty_ = &instrumented_;  // the workers' own marks; `why` is for the log
  }
  if (dirty_ != nullptr) {
    log_info("dirty source: {}{}", dirty_->name(), why.empty() ? "" : " (" + why + ")");
  }
  return dirty_;
}

/// The best that the configuration and this host permit, or null. `why`: what better was not.
std::unique_ptr<engine::DirtySource> ProcessGuest::protecting_source(std::string& why) const {
  why.clear();
  for (const auto& tracker : trackers_for(GuestKind::kProcess, config_.dirty)) {
    auto made = tracker.make({.memory = memory_.view()});
    if (made) {
      return std::move(made->source);
    }
    why += fmt::format("{}no {}: {}",
                       why.empty() ? "" : "; ",
                       dirty_choice_name(tracker.choice),
                       made.error().message());
  }
  return nullptr;
}

engine::StateSection ProcessGuest::encode_clock() const {
  StateWriter out;
  out.text(boot_id());
  out.i64(counter_offset_ns_);
  out.i64(monotonic_ns() + counter_offset_ns_);
  out.i64(realtime_ns());
  engine::StateSection section;
  section.name = kClockSection;
  section.version = kClockVersion;
  section.payload = out.take();
  return section;
}

Result<std::vector<engine::StateSection>> ProcessGuest::save_state() {
  if (phase_ != Phase::kPaused) {
    return fail(ErrorCode::kState, "save state", "the guest is not paused");
  }
  std::vector<engine::StateSection> sections;
  for (std::uint32_t i = 0; i < workers_.size(); ++i) {
    sections.push_back(encode_worker(workers_[i]->state(), i));
  }
  sections.push_back(steps_.save());
  sections.push_back(encode_clock());
  return sections;
}

// ---------------------------------------------------------------------------------------- arriving

Status ProcessGuest::decode_clock(const engine::StateSection& section, Loaded& loaded) const {
  StateReader in(section.payload);
  const auto boot = in.text(kBootIdBytesMax);
  const auto offset = in.i64();
  const auto counter = in.i64();
  const auto realtime = in.i64();
  if (section.version != kClockVersion || !in.done()) {
    return fail(ErrorCode::kRefused, "load clock", "unknown version or wrong size");
  }
  if (boot == boot_id()) {
    loaded.counter_offset_ns = offset;
    return {};
  }
  // Clocks that disagree must not turn the counter back.
  const auto elapsed = std::max<std::int64_t>(0, realtime_ns() - realtime);
  std::int64_t now = 0;
  if (__builtin_add_overflow(counter, elapsed, &now) ||
      __builtin_sub_overflow(now, monotonic_ns(), &loaded.counter_offset_ns.emplace())) {
    return fail(ErrorCode::kRefused, "load clock", "the counter is outside its range");
  }
  return {};
}

Status ProcessGuest::understand(const engine::StateSection& section, Loaded& loaded) const {
  const auto refuse = [&](const char* what) {
    return fail(ErrorCode::kRefused,
                "load state",
                fmt::format("section '{}' instance {}: {}", section.name, section.instance, what));
  };
  const auto instances = section.name == kWorkerSection ? workers_.size() : 1;
  if (section.name == kWorkerSection || section.name == kClockSection ||
      section.name == StepLog::kSection) {
    if (section.instance >= instances) {
      return refuse("this machine has none such");
    }
  }
  if (section.name == kWorkerSection) {
    auto& worker = loaded.workers[section.instance];
    if (worker.has_value()) {
      return refuse("came twice");
    }
    GODWIT_TRY_ASSIGN(worker, decode_worker(section, plan_));
    return {};
  }
  if (section.name == kClockSection) {
    if (loaded.counter_offset_ns.has_value()) {
      return refuse("came twice");
    }
    return decode_clock(section, loaded);
  }
  if (section.name == StepLog::kSection) {
    if (loaded.telemetry != nullptr) {
      return refuse("came twice");
    }
    loaded.telemetry = &section;
    return steps_.check(section);
  }
  if (section.required) {
    return refuse("unknown to this machine, and required");
  }
  return {};
}

Status ProcessGuest::load_state(std::span<const engine::StateSection> sections) {
  if (phase_ != Phase::kNew) {
    return wrong_phase("load state", "the guest was started already");
  }
  Loaded loaded;
  loaded.workers.resize(workers_.size());
  for (const auto& section : sections) {
    GODWIT_TRY(understand(section, loaded));
  }
  const bool all_workers = std::all_of(loaded.workers.begin(),
                                       loaded.workers.end(),
                                       [](const auto& worker) { return worker.has_value(); });
  if (!all_workers || loaded.telemetry == nullptr || !loaded.counter_offset_ns.has_value()) {
    return fail(
        ErrorCode::kRefused, "load state", "a section is missing: worker, telemetry or clock");
  }
  // From here on only the want of threads can fail.
  GODWIT_TRY(steps_.load(*loaded.telemetry));
  apply(loaded);
  GODWIT_TRY(start_workers());
  phase_ = Phase::kLoaded;
  return {};
}

void ProcessGuest::apply(Loaded& loaded) {
  if (config_.skip_register) {
    loaded.workers[0]->canaries[config_.seed % WorkerState::kCanaries] = 0;
  }
  counter_offset_ns_ = *loaded.counter_offset_ns;
  for (std::uint32_t i = 0; i < workers_.size(); ++i) {
    // Slow touches of the unfinished step were the source's: they are no latency of this machine.
    loaded.workers[i]->workload.longest = 0;
    loaded.workers[i]->workload.slow_count = 0;
    workers_[i]->set_state(*loaded.workers[i]);
    workers_[i]->set_counter_offset(counter_offset_ns_);
    if (loaded.workers[i]->filled) {
      control_.set_filled(i);
    }
  }
}

}  // namespace

Result<std::unique_ptr<Guest>> make_process_guest(const GuestConfig& config,
                                                  const MemoryOptions& options,
                                                  const ProcessGuestOptions& process) {
  GODWIT_TRY_ASSIGN(auto plan, plan_workload(config, 0, kCounterHz));
  GODWIT_TRY_ASSIGN(
      auto memory,
      OwnedMemory::create(region_layout(config.memory_bytes), config.backing, options));
  return std::unique_ptr<Guest>(
      std::make_unique<ProcessGuest>(config, plan, std::move(memory), process));
}

}  // namespace godwit::vmm
