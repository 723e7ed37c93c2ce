#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/kvm/memory_pieces.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/kvm/vcpu_state.h"
#include "godwit/kvm/vcpu_thread.h"
#include "godwit/kvm/vm.h"
#include "godwit/vmm/guest.h"

#include "common/guest_memory.h"
#include "kvm/kvm_boot.h"
#include "workload/step_log.h"
#include "workload/sweep_control.h"
#include "workload/workload_plan.h"

namespace godwit::vmm {

/// The machine behind make_kvm_guest(): its life (kvm_machine.cc), what the guest asks of it
/// (kvm_calls.cc), and its state on the way to another host (kvm_state.cc).
class KvmMachine final : public Guest {
 public:
  KvmMachine(const GuestConfig& config, OwnedMemory memory, kvm::System system, kvm::Vm vm)
      : config_(config),
        memory_(std::move(memory)),
        boot_(plan_boot(config)),
        system_(std::move(system)),
        vm_(std::move(vm)),
        scan_(memory_.populated()),
        pieces_(vm_, memory_.view(), system_.memslots_max()),
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

  const GuestConfig config_;
  OwnedMemory memory_;  // declared before everything that maps it into a guest
  const BootLayout boot_;
  kvm::System system_;
  kvm::Vm vm_;
  std::unique_ptr<engine::PopulatedScan> scan_;
  kvm::MemoryPieces pieces_;
  std::vector<kvm::Vcpu> vcpus_;
  kvm::MsrPlan msrs_;
  std::uint64_t counter_hz_ = 0;
  WorkloadPlan plan_;
  SweepControl control_;
  std::unique_ptr<StepLog> log_;
  std::unique_ptr<engine::DirtySource> dirty_;
  Phase phase_ = Phase::kNew;
  std::vector<std::uint64_t> stopped_tsc_;  ///< each vCPU's counter when it was stopped
  std::mutex prepare_mutex_;  ///< prepare() comes from more than one thread of the target
  Status registered_;         ///< read after registering_ has ended
  std::jthread registering_;
  std::vector<std::unique_ptr<kvm::VcpuThread>> threads_;  // last: they use all of the above
};

/// A machine that runs the payload of kvm/guest on KVM. Nothing runs yet.
/// Errors: kUnsupported and kPermission (no KVM here), kInvalidArgument, kNoMemory, kIo.
/// Thread: as Guest says. A vCPU that waits for a page at the target needs no kick: nothing but
/// quiesce(), stop() and the destructor waits for it.
Result<std::unique_ptr<Guest>> make_kvm_guest(const GuestConfig& config,
                                              const MemoryOptions& options);

}  // namespace godwit::vmm
