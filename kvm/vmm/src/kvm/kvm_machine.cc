#include "kvm/kvm_machine.h"

#include <linux/kvm.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/random.h"
#include "godwit/base/thread.h"
#include "godwit/kvm/dirty_bitmap_log.h"
#include "godwit/kvm/dirty_ring.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/kvm/vcpu_state.h"
#include "godwit/kvm/vcpu_thread.h"
#include "godwit/kvm/vm.h"

#include "common/guest_memory.h"
#include "guest/platform.h"
#include "kvm/kvm_boot.h"
#include "kvm/state_codec.h"
#include "workload/step_log.h"
#include "workload/sweep_control.h"
#include "workload/workload_plan.h"

// What migrates outside of guest memory, by section:
//
//   vcpu       one section a vCPU: its registers
//   machine    which vCPUs have filled their memory
//   telemetry  the step log of all vCPUs
//
// The workload's position in its work is in guest memory, like that of any guest.

namespace godwit::vmm {
namespace {

constexpr const char* kVcpuSection = "vcpu";
constexpr const char* kMachineSection = "machine";
constexpr std::uint32_t kVcpuVersion = 1;
constexpr std::uint32_t kMachineVersion = 1;

/// The register that a canary's number stands for.
kvm::StateRegister canary_register(std::uint32_t number) {
  using Kind = kvm::StateRegister::Kind;
  if (number >= guest::kCanaryGs) {
    return {Kind::kGsBase, 0};
  }
  if (number >= guest::kCanaryFs) {
    return {Kind::kFsBase, 0};
  }
  if (number >= guest::kCanaryX87) {
    return {Kind::kX87, number - guest::kCanaryX87};
  }
  if (number >= guest::kCanaryYmmHigh) {
    return {Kind::kYmmHigh, number - guest::kCanaryYmmHigh};
  }
  if (number >= guest::kCanaryXmm) {
    return {Kind::kXmm, number - guest::kCanaryXmm};
  }
  return {Kind::kGeneral, 12 + number};
}

/// The canary that GuestConfig::skip_register leaves out, by the seed; upper halves only exist
/// where there is AVX.
kvm::StateRegister skipped_register(std::uint64_t seed, bool avx) {
  SplitMix64 random(seed);
  std::uint32_t number = 0;
  do {
    number = static_cast<std::uint32_t>(random.below(guest::kCanaryCount));
  } while (!avx && number >= guest::kCanaryYmmHigh && number < guest::kCanaryX87);
  return canary_register(number);
}

class KvmMachine final : public Guest {
 public:
  KvmMachine(const GuestConfig& config, OwnedMemory memory, kvm::System system, kvm::Vm vm)
      : config_(config),
        memory_(std::move(memory)),
        boot_(plan_boot(config)),
        system_(std::move(system)),
        vm_(std::move(vm)),
        control_(config.vcpus) {}
  ~KvmMachine() override { stop(); }
  KvmMachine(const KvmMachine&) = delete;
  KvmMachine& operator=(const KvmMachine&) = delete;

  Status init(bool register_in_background);

  // SourceGuest
  engine::MachineDescription describe() override;
  const engine::GuestMemory& memory() const override { return memory_.view(); }
  engine::PopulatedScan& populated() override { return *scan_; }
  engine::DirtySource* dirty_source(std::string& why) override;
  Result<engine::RunEdge> quiesce() override;
  Result<std::vector<engine::StateSection>> save_state() override;
  Status resume() override;
  // TargetGuest
  Status prepare() override;
  Status load_state(std::span<const engine::StateSection> sections) override;
  Status run() override;
  engine::RunEdge run_edge() const override;
  // Guest
  Status boot() override;
  [[nodiscard]] bool filled() const override { return control_.filled(); }
  Result<SweepResult> sweep(Deadline deadline) override;
  [[nodiscard]] GuestTelemetry telemetry() const override { return log_->telemetry(); }
  [[nodiscard]] Throughput throughput(std::int64_t first, std::int64_t end) const override {
    return log_->throughput(first, end);
  }
  void reset_stall() override { log_->reset_stall(); }
  void stop() override;
  [[nodiscard]] const GuestConfig& config() const override { return config_; }

 private:
  enum class Phase : std::uint8_t { kNew = 1, kPaused, kRunning, kBroken, kStopped };

  /// Sections of a state, checked and decoded.
  struct Loaded {
    std::vector<std::optional<kvm::VcpuState>> vcpus;
    const engine::StateSection* telemetry = nullptr;
    std::optional<std::vector<bool>> filled;
  };

  Result<kvm::VcpuThread::Next> on_exit(kvm::VcpuThread& thread,
                                        kvm::Vcpu& vcpu,
                                        std::int64_t exit_ns);
  Result<kvm::VcpuThread::Next> on_call(kvm::VcpuThread& thread,
                                        kvm::Vcpu& vcpu,
                                        std::int64_t exit_ns);
  void on_step(const kvm::Vcpu& vcpu, std::int64_t exit_ns);
  void on_error(std::uint32_t vcpu,
                std::uint32_t kind,
                std::uint64_t page,
                std::uint64_t expected,
                std::uint64_t found);
  [[nodiscard]] std::int64_t ticks_to_ns(std::uint64_t ticks) const;
  Result<Loaded> decode(std::span<const engine::StateSection> sections) const;
  Status decode_vcpu(const engine::StateSection& section, Loaded& loaded) const;
  Status decode_machine(const engine::StateSection& section, Loaded& loaded) const;
  Status enter_all();
  Status register_memory();
  Status make_dirty_ring();

  const GuestConfig config_;
  OwnedMemory memory_;  // declared before everything that maps it into a guest
  const BootLayout boot_;
  kvm::System system_;
  kvm::Vm vm_;
  std::vector<kvm::Vcpu> vcpus_;
  kvm::MsrPlan msrs_;
  std::uint64_t counter_hz_ = 0;
  WorkloadPlan plan_;
  SweepControl control_;
  std::unique_ptr<StepLog> log_;
  std::unique_ptr<engine::DirtySource> dirty_;
  kvm::DirtyRing* ring_ = nullptr;  ///< `dirty_`, where it is one
  std::unique_ptr<engine::PopulatedScan> scan_;
  Phase phase_ = Phase::kNew;
  std::vector<std::uint64_t> stopped_tsc_;  ///< each vCPU's counter when it was stopped
  std::mutex prepare_mutex_;  ///< prepare() comes from more than one thread of the target
  Status registered_;         ///< read after registering_ has ended
  std::jthread registering_;
  std::vector<std::unique_ptr<kvm::VcpuThread>> threads_;  // last: they use all of the above
};

// ------------------------------------------------------------------------------------------ making

Status KvmMachine::init(bool register_in_background) {
  if (register_in_background) {
    GODWIT_TRY_ASSIGN(registering_, try_start_thread("godwit-slots", ThreadRole::kBulk, [this] {
                        registered_ = register_memory();
                      }));
  } else {
    registered_ = register_memory();
    GODWIT_TRY(prepare());
  }
  if (config_.dirty == DirtyChoice::kRing) {
    GODWIT_TRY(kvm::DirtyRing::enable(system_, vm_));
  }
  vcpus_.reserve(config_.vcpus);
  for (std::uint32_t i = 0; i < config_.vcpus; ++i) {
    GODWIT_TRY_ASSIGN(auto vcpu, kvm::Vcpu::create(system_, vm_, i));
    vcpus_.push_back(std::move(vcpu));
  }
  GODWIT_TRY_ASSIGN(msrs_, kvm::plan_msrs(system_, vcpus_[0]));
  GODWIT_TRY_ASSIGN(const auto khz, vcpus_[0].tsc_khz());
  counter_hz_ = khz * 1000ULL;
  GODWIT_TRY_ASSIGN(plan_, plan_workload(config_, boot_.reserved_pages, counter_hz_));
  log_ = std::make_unique<StepLog>(config_.vcpus, counter_hz_);
  GODWIT_TRY(make_dirty_ring());
  scan_ = memory_.populated();
  stopped_tsc_.resize(config_.vcpus);
  const auto ring_full =
      ring_ == nullptr ? kvm::VcpuThread::OnRingFull() : [this] { return ring_->wait_reset(); };
  for (auto& vcpu : vcpus_) {
    GODWIT_TRY_ASSIGN(auto thread,
                      kvm::VcpuThread::start(
                          vcpu,
                          [this](kvm::VcpuThread& self, kvm::Vcpu& exited, std::int64_t exit_ns) {
                            return on_exit(self, exited, exit_ns);
                          },
                          [this, index = vcpu.index()](const Error& error) {
                            log_->guest_error(fmt::format("vcpu {}: {}", index, error.message()));
                          },
                          ring_full));
    threads_.push_back(std::move(thread));
  }
  return {};
}

/// Where KVM keeps page tables of its own for the guest (no hardware nesting, or a nested guest), a
/// slot costs kernel memory by its size, ten bytes a page: 64 GiB take a tenth of a second and
/// more.
Status KvmMachine::register_memory() {
  for (const auto& region : memory_.view().regions) {
    GODWIT_TRY(vm_.add_memslot({region.gpa, region.page_count, region.guest}));
  }
  return {};
}

Status KvmMachine::prepare() {
  const std::lock_guard lock(prepare_mutex_);
  if (registering_.joinable()) {
    registering_.join();
  }
  if (registered_ && dirty_ == nullptr && config_.dirty != DirtyChoice::kRing) {
    // Also by kAuto: see docs/adr/0006-dirty-log-by-default.md.
    dirty_ = std::make_unique<kvm::DirtyBitmapLog>(vm_);
  }
  return registered_;
}

/// Requires: the vCPUs exist.
Status KvmMachine::make_dirty_ring() {
  if (config_.dirty != DirtyChoice::kRing) {
    return {};
  }
  GODWIT_TRY_ASSIGN(auto ring,
                    kvm::DirtyRing::create(vm_, vcpus_, [this] { kvm::leave_guest(threads_); }));
  ring_ = ring.get();
  dirty_ = std::move(ring);
  return {};
}

Status KvmMachine::boot() {
  if (phase_ != Phase::kNew) {
    return fail(ErrorCode::kState, "boot", "this machine has been started or loaded before");
  }
  GODWIT_TRY(write_boot(boot_, plan_, memory_.view()));
  for (const auto& vcpu : vcpus_) {
    GODWIT_TRY(enter_payload(system_, vcpu, boot_, plan_));
  }
  phase_ = Phase::kRunning;
  Status resumed;
  for (auto& thread : threads_) {
    if (auto one = thread->resume(); !one && resumed) {
      resumed = one;  // the others run all the same
    }
  }
  return resumed;
}

// ------------------------------------------------------------------------------------------- exits

std::int64_t KvmMachine::ticks_to_ns(std::uint64_t ticks) const {
  // The guest sleeps a millisecond or so; a wild value must not overflow.
  const auto bounded = std::min(ticks, counter_hz_);
  return static_cast<std::int64_t>(bounded * 1'000'000'000 / counter_hz_);
}

Result<kvm::VcpuThread::Next> KvmMachine::on_exit(kvm::VcpuThread& thread,
                                                  kvm::Vcpu& vcpu,
                                                  std::int64_t exit_ns) {
  const kvm_run& run = vcpu.run_page();
  if (run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT &&
      run.io.port == guest::kDoorbellPort && run.io.size == sizeof(std::uint32_t)) {
    return on_call(thread, vcpu, exit_ns);
  }
  const auto& regs = run.s.regs.regs;
  switch (run.exit_reason) {
    case KVM_EXIT_SHUTDOWN:
      return fail(ErrorCode::kGuest, "vCPU", fmt::format("triple fault at {:#x}", regs.rip));
    case KVM_EXIT_INTERNAL_ERROR:
      return fail(
          ErrorCode::kGuest,
          "vCPU",
          fmt::format(
              "KVM could not go on at {:#x}: internal error {}", regs.rip, run.internal.suberror));
    case KVM_EXIT_FAIL_ENTRY:
      return fail(ErrorCode::kGuest,
                  "vCPU",
                  fmt::format("the processor refused its state: {:#x}",
                              run.fail_entry.hardware_entry_failure_reason));
    case KVM_EXIT_MMIO:
      return fail(
          ErrorCode::kGuest,
          "vCPU",
          fmt::format(
              "touched {:#x}, where there is no memory, at {:#x}", run.mmio.phys_addr, regs.rip));
    default:
      return fail(ErrorCode::kGuest,
                  "vCPU",
                  fmt::format("left with reason {} at {:#x}", run.exit_reason, regs.rip));
  }
}

Result<kvm::VcpuThread::Next> KvmMachine::on_call(kvm::VcpuThread& thread,
                                                  kvm::Vcpu& vcpu,
                                                  std::int64_t exit_ns) {
  kvm_run& run = vcpu.run_page();
  auto& regs = run.s.regs.regs;
  const auto index = vcpu.index();
  switch (static_cast<std::uint32_t>(regs.rax)) {
    case guest::kCallStep: {
      on_step(vcpu, exit_ns);
      if (const auto command = control_.take_command(index); command != guest::kCommandNone) {
        regs.r8 = command;
        run.kvm_dirty_regs = KVM_SYNC_X86_REGS;
      }
      return kvm::VcpuThread::Next::kRun;
    }
    case guest::kCallSleep:
      thread.sleep_until(exit_ns + ticks_to_ns(regs.rbx));
      return kvm::VcpuThread::Next::kRun;
    case guest::kCallFilled:
      control_.set_filled(index);
      return kvm::VcpuThread::Next::kRun;
    case guest::kCallError:
      on_error(index, static_cast<std::uint32_t>(regs.rbx), regs.rcx, regs.rsi, regs.rdi);
      return kvm::VcpuThread::Next::kRun;
    case guest::kCallSweepDone:
      control_.done(index, regs.rbx, regs.rcx, regs.rsi + plan_.data_page);
      return kvm::VcpuThread::Next::kRun;
    case guest::kCallEnded:
      return kvm::VcpuThread::Next::kPark;
    default:
      return fail(ErrorCode::kGuest,
                  "vCPU",
                  fmt::format("unknown call {:#x} at {:#x}", regs.rax, regs.rip));
  }
}

void KvmMachine::on_step(const kvm::Vcpu& vcpu, std::int64_t exit_ns) {
  const auto& regs = vcpu.run_page().s.regs.regs;
  const auto& view = memory_.view();
  // Read through the guest's mapping: the guest has just written or read this page itself, so
  // nothing waits here.
  const auto* block = reinterpret_cast<const guest::VcpuBlock*>(
      view.page(page_id(view, plan_.blocks_page + vcpu.index())));
  StepLog::Doorbell doorbell;
  doorbell.step = regs.rbx;
  doorbell.counter = regs.rcx;
  doorbell.longest_ticks = regs.rsi;
  doorbell.touches = block->state.touches;
  doorbell.slow = {block->slow, std::min<std::size_t>(regs.rdi, guest::kSlowTouchesPerStep)};
  doorbell.stamp_ns = exit_ns;
  log_->doorbell(vcpu.index(), doorbell);
}

void KvmMachine::on_error(std::uint32_t vcpu,
                          std::uint32_t kind,
                          std::uint64_t page,
                          std::uint64_t expected,
                          std::uint64_t found) {
  if (kind == guest::kErrorCanary && page < guest::kCanaryCount) {
    log_->guest_error(
        fmt::format("vcpu {}: canary register {} ({}) holds {:#x}, {:#x} expected",
                    vcpu,
                    page,
                    kvm::register_name(canary_register(static_cast<std::uint32_t>(page))),
                    found,
                    expected));
    return;
  }
  log_->guest_error(vcpu, kind, page + plan_.data_page, expected, found);
}

// ------------------------------------------------------------------------------------------ source

engine::MachineDescription KvmMachine::describe() {
  engine::MachineDescription description;
  description.regions = region_layout(config_.memory_bytes);
  description.vcpus = config_.vcpus;
  description.kind = std::string(kind_name(GuestKind::kKvm));
  description.config.push_back(encode_config(config_));
  return description;
}

engine::DirtySource* KvmMachine::dirty_source(std::string& why) {
  why.clear();
  log_info("dirty source: {}{}",
           dirty_->name(),
           config_.dirty == DirtyChoice::kAuto ? " (by auto: the cheaper of KVM's two)" : "");
  return dirty_.get();
}

Result<engine::RunEdge> KvmMachine::quiesce() {
  if (phase_ != Phase::kRunning) {
    return fail(ErrorCode::kState, "quiesce", "this machine does not run");
  }
  // All are asked first: they leave the guest side by side.
  for (auto& thread : threads_) {
    thread->request_pause();
  }
  Status stopped;
  for (auto& thread : threads_) {
    if (auto paused = thread->wait_paused(); !paused && stopped) {
      stopped = paused;
    }
  }
  for (std::size_t i = 0; stopped && i < vcpus_.size(); ++i) {
    if (auto counter = vcpus_[i].tsc(); counter) {
      stopped_tsc_[i] = *counter;
    } else {
      stopped = fail(counter.error());
    }
  }
  if (!stopped) {
    // One vCPU cannot go on; the others must not stand still for it.
    for (auto& thread : threads_) {
      [[maybe_unused]] const auto resumed = thread->resume();
    }
    return fail(stopped.error());
  }
  phase_ = Phase::kPaused;
  engine::RunEdge edge;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const auto left = threads_[i]->left_ns();
    edge.first_ns = i == 0 ? left : std::min(edge.first_ns, left);
    edge.last_ns = std::max(edge.last_ns, left);
  }
  return edge;
}

Result<std::vector<engine::StateSection>> KvmMachine::save_state() {
  if (phase_ != Phase::kPaused) {
    return fail(ErrorCode::kState, "save_state", "the machine is not paused");
  }
  std::vector<engine::StateSection> sections;
  StateWriter filled;
  filled.u32(config_.vcpus);
  for (const auto& vcpu : vcpus_) {
    GODWIT_TRY_ASSIGN(const auto state, kvm::VcpuState::capture(vcpu, msrs_));
    engine::StateSection section;
    section.name = kVcpuSection;
    section.instance = vcpu.index();
    section.version = kVcpuVersion;
    section.payload = state.encode();
    sections.push_back(std::move(section));
    filled.u32(control_.filled(vcpu.index()) ? 1 : 0);
  }
  engine::StateSection machine;
  machine.name = kMachineSection;
  machine.version = kMachineVersion;
  machine.payload = filled.take();
  sections.push_back(std::move(machine));
  sections.push_back(log_->save());
  return sections;
}

Status KvmMachine::resume() {
  if (phase_ == Phase::kRunning) {
    return {};
  }
  if (phase_ != Phase::kPaused) {
    return fail(ErrorCode::kState, "resume", "this machine cannot run");
  }
  return enter_all();
}

Status KvmMachine::enter_all() {
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    GODWIT_TRY_ASSIGN(const auto now, vcpus_[i].tsc());
    log_->pause(vcpus_[i].index(), stopped_tsc_[i], now);
  }
  phase_ = Phase::kRunning;
  log_->entering(monotonic_ns());
  for (auto& thread : threads_) {
    GODWIT_TRY(thread->resume());
  }
  return {};
}

// ------------------------------------------------------------------------------------------ target

Status KvmMachine::decode_vcpu(const engine::StateSection& section, Loaded& loaded) const {
  if (section.version != kVcpuVersion || section.instance >= config_.vcpus) {
    return fail(
        ErrorCode::kRefused,
        "load_state",
        fmt::format("section vcpu {} version {}: this machine has {} vCPUs and knows version {}",
                    section.instance,
                    section.version,
                    config_.vcpus,
                    kVcpuVersion));
  }
  auto& place = loaded.vcpus[section.instance];
  if (place) {
    return fail(ErrorCode::kRefused,
                "load_state",
                fmt::format("section vcpu {} comes twice", section.instance));
  }
  GODWIT_TRY_ASSIGN(auto state, kvm::VcpuState::decode(section.payload));
  GODWIT_TRY(state.check(system_, vcpus_[section.instance]));
  place = std::move(state);
  return {};
}

Status KvmMachine::decode_machine(const engine::StateSection& section, Loaded& loaded) const {
  StateReader in(section.payload);
  const auto count = in.u32();
  std::vector<bool> filled;
  for (std::uint32_t i = 0; i < config_.vcpus; ++i) {
    filled.push_back(in.u32() == 1);
  }
  if (section.version != kMachineVersion || section.instance != 0 || loaded.filled ||
      count != config_.vcpus || !in.done()) {
    return fail(ErrorCode::kRefused,
                "load_state",
                "section machine has the wrong version or size, or comes twice");
  }
  loaded.filled = std::move(filled);
  return {};
}

Result<KvmMachine::Loaded> KvmMachine::decode(
    std::span<const engine::StateSection> sections) const {
  Loaded loaded;
  loaded.vcpus.resize(config_.vcpus);
  for (const auto& section : sections) {
    if (section.name == kVcpuSection) {
      GODWIT_TRY(decode_vcpu(section, loaded));
    } else if (section.name == kMachineSection) {
      GODWIT_TRY(decode_machine(section, loaded));
    } else if (section.name == StepLog::kSection) {
      if (loaded.telemetry != nullptr) {
        return fail(ErrorCode::kRefused, "load_state", "section telemetry comes twice");
      }
      GODWIT_TRY(log_->check(section));
      loaded.telemetry = &section;
    } else if (section.required) {
      return fail(
          ErrorCode::kRefused,
          "load_state",
          fmt::format("this machine has nothing that takes the section \"{}\"", section.name));
    }
  }
  const bool all = std::all_of(
      loaded.vcpus.begin(), loaded.vcpus.end(), [](const auto& v) { return v.has_value(); });
  if (!all || loaded.telemetry == nullptr || !loaded.filled) {
    return fail(
        ErrorCode::kRefused, "load_state", "a section of vcpu, machine or telemetry is missing");
  }
  return loaded;
}

Status KvmMachine::load_state(std::span<const engine::StateSection> sections) {
  if (phase_ != Phase::kNew) {
    return fail(
        ErrorCode::kRefused, "load_state", "this machine has been started or loaded before");
  }
  GODWIT_TRY_ASSIGN(auto loaded, decode(sections));
  GODWIT_TRY(prepare());
  // From here on the machine is modified: an error leaves it unusable.
  phase_ = Phase::kBroken;
  if (config_.skip_register) {
    loaded.vcpus[0]->forget(skipped_register(config_.seed, system_.has_avx()));
  }
  kvm::TscShift shift;
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    GODWIT_TRY(loaded.vcpus[i]->restore(vcpus_[i], shift));
    stopped_tsc_[i] = loaded.vcpus[i]->tsc();
    if ((*loaded.filled)[i]) {
      control_.set_filled(static_cast<std::uint32_t>(i));
    }
  }
  GODWIT_TRY(log_->load(*loaded.telemetry));
  phase_ = Phase::kPaused;
  return {};
}

Status KvmMachine::run() {
  if (phase_ != Phase::kPaused) {
    return fail(ErrorCode::kState, "run", "the machine has no state loaded");
  }
  return enter_all();
}

engine::RunEdge KvmMachine::run_edge() const {
  engine::RunEdge edge;
  bool all = !threads_.empty();
  std::int64_t last = 0;
  for (const auto& thread : threads_) {
    const auto entered = thread->entered_ns();
    all = all && entered != 0;
    last = std::max(last, entered);
    if (entered != 0 && (edge.first_ns == 0 || entered < edge.first_ns)) {
      edge.first_ns = entered;
    }
  }
  edge.last_ns = all ? last : 0;
  return edge;
}

// ----------------------------------------------------------------------------------------- control

Result<SweepResult> KvmMachine::sweep(Deadline deadline) {
  if (phase_ != Phase::kRunning) {
    return fail(
        ErrorCode::kState, "sweep", "the guest checks its memory itself, and it does not run");
  }
  return control_.run(deadline, plan_, memory_.view(), *scan_);
}

void KvmMachine::stop() {
  control_.request_stop();
  for (auto& thread : threads_) {
    thread->request_pause();
  }
  threads_.clear();
  phase_ = Phase::kStopped;
}

}  // namespace

Result<std::unique_ptr<Guest>> make_kvm_guest(const GuestConfig& config,
                                              const MemoryOptions& options) {
  GODWIT_TRY(validate(config));
  // The host first: "no KVM here" is a better answer than "no memory".
  GODWIT_TRY_ASSIGN(auto system, kvm::System::open());
  GODWIT_TRY_ASSIGN(auto vm, kvm::Vm::create(system));
  GODWIT_TRY_ASSIGN(
      auto memory,
      OwnedMemory::create(region_layout(config.memory_bytes), config.backing, options));
  auto machine =
      std::make_unique<KvmMachine>(config, std::move(memory), std::move(system), std::move(vm));
  GODWIT_TRY(machine->init(options.register_in_background));
  return std::unique_ptr<Guest>(std::move(machine));
}

}  // namespace godwit::vmm
