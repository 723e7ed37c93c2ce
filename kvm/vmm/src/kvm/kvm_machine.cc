#include "kvm/kvm_machine.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"

#include "common/dirty_sources.h"

namespace godwit::vmm {
namespace {

/// No vCPU has run: whoever can run the guest elsewhere may.
tl::unexpected<Error> not_entered(Error error) {
  error.code = ErrorCode::kRefused;
  return fail(std::move(error));
}

}  // namespace

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
  const auto trackers = trackers_for(GuestKind::kKvm, config_.dirty);
  if (trackers.empty()) {
    return check_dirty_choice(GuestKind::kKvm, config_.dirty);
  }
  const auto& tracker = trackers.front();
  if (tracker.enable != nullptr) {
    GODWIT_TRY(tracker.enable(system_, vm_));
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
  GODWIT_TRY_ASSIGN(
      auto made,
      tracker.make(
          {memory_.view(), &vm_, vcpus_, [this] { kvm::leave_guest(threads_); }, scan_.get()}));
  dirty_ = std::move(made.source);
  stopped_tsc_.resize(config_.vcpus);
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
                          made.on_ring_full));
    threads_.push_back(std::move(thread));
  }
  return {};
}

/// What this guest ever touches, by its own configuration; anything else when it is touched after
/// all (memory_pieces.cc).
Status KvmMachine::register_memory() {
  auto left = config_.populated_bytes >> kPageShift;
  const auto& regions = memory_.view().regions;
  for (RegionIndex region = 0; region < regions.size() && left > 0; ++region) {
    const auto pages = std::min(left, regions[region].page_count);
    GODWIT_TRY(pieces_.add({region, 0, pages}));
    left -= pages;
  }
  return {};
}

Status KvmMachine::prepare() {
  const std::lock_guard lock(prepare_mutex_);
  if (registering_.joinable()) {
    registering_.join();
  }
  GODWIT_TRY(registered_);
  return pieces_.add_populated(*scan_);
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
  if (auto added = pieces_.add_populated(*scan_); !added) {
    log_warn("memory that this guest has not touched here stays unknown to KVM: {}",
             added.error().message());
  }
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
    const auto now = vcpus_[i].tsc();
    if (!now) {
      return not_entered(now.error());
    }
    log_->pause(vcpus_[i].index(), stopped_tsc_[i], *now);
  }
  log_->entering(monotonic_ns());
  for (auto& thread : threads_) {
    if (auto resumed = thread->resume(); !resumed) {
      return phase_ == Phase::kRunning ? resumed : not_entered(resumed.error());
    }
    phase_ = Phase::kRunning;
  }
  return {};
}

// ------------------------------------------------------------------------------------------ target

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

Result<std::unique_ptr<Guest>> make_kvm_guest(const GuestConfig& config,
                                              const MemoryOptions& options) {
  GODWIT_TRY(validate(config));
  // The host first: "no KVM here" is a better answer than "no memory".
  GODWIT_TRY_ASSIGN(auto system, kvm::System::open());
  const auto last = region_layout(config.memory_bytes).back();
  if (const auto bits = system.physical_bits();
      bits < 64 && (last.gpa + (last.page_count << kPageShift) - 1) >> bits != 0) {
    return fail(
        ErrorCode::kUnsupported,
        "memory",
        fmt::format("a guest of this host has addresses of {} bits, this one needs memory at "
                    "{:#x}",
                    bits,
                    last.gpa));
  }
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
