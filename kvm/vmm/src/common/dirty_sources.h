#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/kvm/dirty_ring.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/kvm/vcpu_thread.h"
#include "godwit/kvm/vm.h"
#include "godwit/vmm/dirty_choice.h"

namespace godwit::vmm {

/// What a guest offers to its tracker, which it outlives.
struct TrackedGuest {
  const engine::GuestMemory& memory;
  kvm::Vm* vm = nullptr;  ///< of a KVM machine, as all that follows
  std::span<const kvm::Vcpu> vcpus = {};
  kvm::DirtyRing::LeaveGuest leave_guest = {};
  engine::PopulatedScan* populated = nullptr;
};

struct MadeTracker {
  std::unique_ptr<engine::DirtySource> source;
  kvm::VcpuThread::OnRingFull on_ring_full = {};  ///< empty where vCPUs have no ring
};

/// One way to learn of a guest's writes.
struct DirtyTracker {
  DirtyChoice choice;
  GuestKind kind;
  /// Whether this host can do it, for memory of 4 KiB pages or of huge ones; null: always.
  /// Errors: with what is missing.
  Status (*probe)(const DirtyTracker& row, bool huge_pages) = nullptr;
  /// What a KVM machine needs before its first vCPU; null: nothing.
  Status (*enable)(const kvm::System& system, kvm::Vm& vm) = nullptr;
  /// Requires: enable() was called; the vCPUs exist.
  Result<MadeTracker> (*make)(const TrackedGuest& guest) = nullptr;
};

/// The trackers that `choice` permits a guest of `kind`, the best first; none when `choice` is one
/// of the other kind's.
std::vector<DirtyTracker> trackers_for(GuestKind kind, DirtyChoice choice);

}  // namespace godwit::vmm
