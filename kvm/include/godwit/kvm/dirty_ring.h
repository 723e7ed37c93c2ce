#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/kvm/vm.h"

namespace godwit::kvm {

class ArmedSlots;

/// Why this host's KVM gives no dirty rings, or an empty string. Kernel: v5.11.
std::string dirty_ring_unusable_reason(const System& system);

/// Dirty tracking by KVM's rings: each vCPU has a ring that the kernel writes dirtied pages into,
/// and a reaper thread empties them. Sees what vCPUs write, not what this process writes through
/// its mapping. Memslot i is region i; a page may be marked twice.
///
/// Guarantees: those of engine::DirtySource; start() is legal again after stop(). While tracking is
/// off nothing enters the rings. A failure of the kernel's is returned by every sync() until
/// stop(). Requires: the sink outlives stop(), or the destructor, which stops. Thread: start, sync,
/// stop from the migration thread; wait_reset() from vCPU threads. Ownership: one thread, and the
/// mappings of the rings. Kernel: v5.11. KVM_GET_DIRTY_LOG does not work on a Vm whose rings are
/// enabled. Cost: 16 bytes an entry and vCPU; sync() makes every running vCPU leave the guest once.
/// Source: Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING
class DirtyRing final : public engine::DirtySource {
 public:
  static constexpr std::uint32_t kDefaultEntries = 16384;

  /// Makes every vCPU leave the guest; returns when each has been outside since the call.
  using LeaveGuest = std::function<void()>;

  /// How the reaper has fared since create(). Thread: any; figures of one moment each.
  struct Figures {
    std::uint64_t entries = 0;     ///< taken from the rings
    std::uint64_t full_waits = 0;  ///< vCPUs that waited for a full ring
    std::uint64_t overflows = 0;   ///< records that found the queue full and went to the sink
  };

  /// Gives all vCPUs that `vm` will get a ring of `entries`, a power of two. Requires: no vCPU yet.
  /// Errors: kUnsupported when the host has no rings, kInvalidArgument for a size it refuses.
  static Status enable(const System& system, Vm& vm, std::uint32_t entries = kDefaultEntries);

  /// `populated`: tells which memslots hold pages, since others need not log; null: all may.
  /// Requires: enable() before the first vCPU; `vm`, `vcpus` and `populated` outlive this, and the
  /// vCPUs do not change. Errors: kState without enable(), kNoMemory, kIo.
  static Result<std::unique_ptr<DirtyRing>> create(Vm& vm,
                                                   std::span<const Vcpu> vcpus,
                                                   LeaveGuest leave_guest,
                                                   engine::PopulatedScan* populated = nullptr);
  ~DirtyRing() override;
  DirtyRing(const DirtyRing&) = delete;
  DirtyRing& operator=(const DirtyRing&) = delete;

  Status start(engine::DirtySink& sink) override;
  Status sync() override;
  void stop() override;
  [[nodiscard]] const char* name() const override { return "ring"; }

  /// For a vCPU that left the guest with KVM_EXIT_DIRTY_RING_FULL: waits until its ring has been
  /// emptied and reset. Errors: the kernel's, when it never will be.
  Status wait_reset();

  [[nodiscard]] Figures figures() const;

 private:
  class Rings;
  struct Reaped;

  DirtyRing(Vm& vm,
            std::unique_ptr<Rings> rings,
            LeaveGuest leave_guest,
            engine::PopulatedScan* populated,
            EventFd wake);

  // The reaper.
  void reap();
  Status pass(bool all);
  Status reset_and_publish();
  void publish();
  void note_failure(Error error);

  // Everybody else.
  void wait_for_pass();
  void drain_queue();

  Vm& vm_;
  const std::unique_ptr<Rings> rings_;
  const std::unique_ptr<Reaped> reaped_;
  const std::unique_ptr<ArmedSlots> slots_;
  const LeaveGuest leave_guest_;
  EventFd wake_;
  engine::DirtySink* sink_ = nullptr;

  std::atomic<std::uint64_t> asked_{0};            ///< passes asked for
  std::atomic<std::uint64_t> served_{UINT64_MAX};  ///< all asked for up to here are done
  std::atomic<bool> ending_{false};
  std::atomic<bool> failed_{false};
  std::atomic<bool> stuck_{false};  ///< the rings cannot be reset any more
  Error failure_;                   ///< written by the reaper before failed_, read after it
  std::atomic<std::uint64_t> entries_{0};
  std::atomic<std::uint64_t> full_waits_{0};
  std::atomic<std::uint64_t> overflows_{0};
  std::jthread reaper_;
};

}  // namespace godwit::kvm
