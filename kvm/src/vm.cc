#include "godwit/kvm/vm.h"

#include <cerrno>
#include <deque>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/units.h"

#include "uapi.h"

namespace godwit::kvm {
namespace {

/// Intel hosts without unrestricted-guest mode need three pages that no memslot covers, below 4
/// GiB: the highest place that firmware leaves free by convention. Guest memory of the reference
/// machine ends below 2 GiB or starts at 4 GiB.
constexpr unsigned long kTssAddress = 0xFFFBD000UL;

Status set_region(int fd, std::uint32_t number, const Memslot& slot, bool logging) {
  kvm_userspace_memory_region region{};
  region.slot = number;
  region.flags = logging ? KVM_MEM_LOG_DIRTY_PAGES : 0U;
  region.guest_phys_addr = slot.gpa;
  region.memory_size = slot.page_count << kPageShift;
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(slot.host);
  if (::ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
    return fail_errno(errno,
                      "KVM_SET_USER_MEMORY_REGION",
                      fmt::format("slot {} at {:#x}, {} pages{}",
                                  number,
                                  slot.gpa,
                                  slot.page_count,
                                  logging ? ", dirty log" : ""));
  }
  return {};
}

}  // namespace

/// Two locks, so that looking a slot up never waits for the kernel.
struct Vm::Slots {
  struct Slot {
    Memslot memory;
    bool logging = false;
  };
  std::mutex change;         ///< held while the kernel changes a slot; taken before `table`
  mutable std::mutex table;  ///< guards all that follows
  std::deque<Slot> slots;
  std::vector<PageId> written;
};

Vm::Vm(Fd fd) : fd_(std::move(fd)), slots_(std::make_shared<Slots>()) {}

Result<Vm> Vm::create(const System& system) {
  int fd = -1;
  do {
    // The kernel gives up with EINTR when a signal arrives in the middle; nothing has been made
    // then.
    fd = ::ioctl(system.fd(), KVM_CREATE_VM, 0);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    return fail_errno(errno, "KVM_CREATE_VM", "the host refuses another virtual machine");
  }
  Vm vm((Fd(fd)));
  if (::ioctl(vm.fd(), KVM_SET_TSS_ADDR, kTssAddress) != 0) {
    return fail_errno(errno, "KVM_SET_TSS_ADDR");
  }
  // Has to be chosen before the first slot logs. See dirty_bitmap_log.cc for why INITIALLY_SET is
  // left out.
  kvm_enable_cap cap{};
  cap.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
  cap.args[0] = uapi::kManualProtectEnable;
  if (::ioctl(vm.fd(), KVM_ENABLE_CAP, &cap) != 0) {
    return fail_errno(errno, "KVM_ENABLE_CAP", "manual dirty log");
  }
  return vm;
}

Status Vm::add_memslot(const Memslot& slot) {
  if (slot.page_count == 0 || slot.host == nullptr || (slot.gpa & (kPageBytes - 1)) != 0 ||
      slot.first_page % 64 != 0) {
    return fail(ErrorCode::kInvalidArgument, "add_memslot", "needs whole pages and a mapping");
  }
  const std::lock_guard changing(slots_->change);
  GODWIT_TRY(set_region(fd_.get(), memslot_count(), slot, false));
  const std::lock_guard lock(slots_->table);
  slots_->slots.push_back({slot, false});
  return {};
}

Status Vm::set_dirty_logging(std::uint32_t slot, bool on) {
  const std::lock_guard changing(slots_->change);
  if (slot >= memslot_count()) {
    return fail(
        ErrorCode::kInvalidArgument, "set_dirty_logging", fmt::format("no memslot {}", slot));
  }
  if (dirty_logging(slot) != on) {
    GODWIT_TRY(set_region(fd_.get(), slot, memslot(slot), on));
    const std::lock_guard lock(slots_->table);
    slots_->slots[slot].logging = on;
  }
  return {};
}

bool Vm::dirty_logging(std::uint32_t slot) const {
  const std::lock_guard lock(slots_->table);
  return slots_->slots[slot].logging;
}

std::uint32_t Vm::memslot_count() const {
  const std::lock_guard lock(slots_->table);
  return static_cast<std::uint32_t>(slots_->slots.size());
}

Memslot Vm::memslot(std::uint32_t slot) const {
  const std::lock_guard lock(slots_->table);
  return slots_->slots[slot].memory;
}

void Vm::note_written(PageId page) {
  const std::lock_guard lock(slots_->table);
  slots_->written.push_back(page);
}

std::vector<PageId> Vm::take_written() {
  const std::lock_guard lock(slots_->table);
  return std::exchange(slots_->written, {});
}

Status Vm::enable_dirty_rings(int capability, std::uint32_t entries) {
  kvm_enable_cap cap{};
  cap.cap = static_cast<std::uint32_t>(capability);
  cap.args[0] = entries * sizeof(kvm_dirty_gfn);
  if (::ioctl(fd_.get(), KVM_ENABLE_CAP, &cap) != 0) {
    return fail(make_error(
        ErrorCode::kInvalidArgument,
        "KVM_CAP_DIRTY_LOG_RING",
        fmt::format("the kernel refuses rings of {} entries: it takes powers of two within its "
                    "limits, once, before the first vCPU",
                    entries)));
  }
  ring_entries_ = entries;
  return {};
}

}  // namespace godwit::kvm
