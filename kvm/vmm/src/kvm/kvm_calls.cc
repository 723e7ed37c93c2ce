#include <linux/kvm.h>

#include <algorithm>

#include <fmt/format.h>

#include "guest/platform.h"
#include "kvm/canaries.h"
#include "kvm/kvm_machine.h"

// Why a vCPU leaves the guest: its doorbells, and what it cannot go on after.

namespace godwit::vmm {

std::int64_t KvmMachine::ticks_to_ns(std::uint64_t ticks) const {
  // The guest sleeps a millisecond or so; a wild value must not overflow.
  const auto bounded = std::min(ticks, counter_hz_);
  return static_cast<std::int64_t>(bounded * 1'000'000'000 / counter_hz_);
}

Result<kvm::VcpuThread::Next> KvmMachine::on_exit(kvm::VcpuThread& thread,
                                                  kvm::Vcpu& vcpu,
                                                  std::int64_t exit_ns) {
  kvm_run& run = vcpu.run_page();
  if (run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT &&
      run.io.port == guest::kDoorbellPort && run.io.size == sizeof(std::uint32_t)) {
    return on_call(thread, vcpu, exit_ns);
  }
  if (run.exit_reason == KVM_EXIT_MMIO) {
    GODWIT_TRY_ASSIGN(const bool memory, pieces_.on_mmio(run));
    if (memory) {
      return kvm::VcpuThread::Next::kRun;
    }
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

}  // namespace godwit::vmm
