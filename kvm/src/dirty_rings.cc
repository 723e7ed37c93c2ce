#include "dirty_rings.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>

#include <fmt/format.h>

#include "uapi.h"

namespace godwit::kvm {
namespace {

/// Resets in a row that may take nothing: the kernel leaves a reset early when a signal waits.
constexpr int kEmptyResetsMax = 64;

std::atomic_ref<std::uint32_t> flags_of(kvm_dirty_gfn& entry) {
  return std::atomic_ref<std::uint32_t>(entry.flags);
}

}  // namespace

void VcpuRing::Unmap::operator()(kvm_dirty_gfn* ring) const {
  ::munmap(ring, bytes);
}

Result<VcpuRing> VcpuRing::map(const Vcpu& vcpu, std::uint32_t entries) {
  const auto bytes = entries * sizeof(kvm_dirty_gfn);
  void* at = ::mmap(nullptr,
                    bytes,
                    PROT_READ | PROT_WRITE,
                    MAP_SHARED,
                    vcpu.fd(),
                    static_cast<off_t>(KVM_DIRTY_LOG_PAGE_OFFSET * kPageBytes));
  if (at == MAP_FAILED) {
    return fail_errno(errno, "mmap dirty ring", fmt::format("vCPU {}", vcpu.index()));
  }
  return VcpuRing(
      std::unique_ptr<kvm_dirty_gfn, Unmap>(static_cast<kvm_dirty_gfn*>(at), Unmap{bytes}),
      entries);
}

std::optional<VcpuRing::Entry> VcpuRing::take() {
  auto& entry = ring_.get()[next_ % entries_];
  const auto flags = flags_of(entry);
  // acquire: pairs with the kernel's release when it publishes the entry.
  if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_MASK) != KVM_DIRTY_GFN_F_DIRTY) {
    return std::nullopt;
  }
  const Entry taken{entry.slot, entry.offset};
  // release: pairs with the kernel's acquire in the reset; the copy above is made by then.
  flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
  ++next_;
  return taken;
}

bool VcpuRing::half_full() const {
  // The kernel fills the ring in order: when this place is taken, so are all before it.
  auto& entry = ring_.get()[(next_ + entries_ / 2) % entries_];
  // relaxed: a hint only; take() looks again.
  return (flags_of(entry).load(std::memory_order_relaxed) & KVM_DIRTY_GFN_F_DIRTY) != 0;
}

Status reset_rings(const Vm& vm, std::uint64_t count) {
  int empty = 0;
  while (count > 0) {
    const int reset = ::ioctl(vm.fd(), KVM_RESET_DIRTY_RINGS, 0);
    if (reset < 0) {
      return fail_errno(errno, "KVM_RESET_DIRTY_RINGS");
    }
    const auto done = static_cast<std::uint64_t>(reset);
    empty = done == 0 ? empty + 1 : 0;
    if (done > count || empty > kEmptyResetsMax) {
      return fail(ErrorCode::kInternal,
                  "KVM_RESET_DIRTY_RINGS",
                  fmt::format("the kernel reset {} entries where {} were taken", done, count));
    }
    count -= done;
  }
  return {};
}

}  // namespace godwit::kvm
