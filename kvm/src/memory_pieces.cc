#include "godwit/kvm/memory_pieces.h"

#include <algorithm>
#include <cstring>

#include "uapi.h"

// Why guest memory is cut into pieces, and why KVM learns of them late
//
// What KVM does to a slot it does by its size, not by what the guest has of it. Where KVM keeps
// page tables of its own (no hardware nesting, or a nested guest), a slot has books of ten bytes a
// page, which are allocated and cleared when it is added: 1.2 ms and 2.6 MiB a GiB, 43 GiB for 16
// TiB. To switch its dirty log on or off, KVM walks all of these books under the one lock that a
// vCPU's page faults take too: 2.4 ns a page, a third of a second for half a TiB, in which the
// guest stands. KVM_GET_DIRTY_LOG copies a bit a page of the slot.
//
// So memory is cut into pieces of a GiB: no hold of the lock is longer than 0.7 ms, and what holds
// no page is left out whole, of the log (armed_slots.cc) and of KVM: a piece is added when
// something of it is known to be used, or when a vCPU touches it. Adding one costs 0.04 ms and its
// books.
//
// A touch where KVM knows of no memory is taken for a device's register: KVM emulates the
// instruction and leaves the guest with the access to be carried out (KVM_EXIT_MMIO). We add the
// piece first and then do what memory does. An instruction that reads and writes at once leaves for
// its read; KVM goes on with the write when it comes back, finds memory there, and does it as one
// step against the value that we gave. An instruction that KVM cannot emulate ends the guest, as it
// would on a device; so does code, or a page table, in a piece that is not there. A machine
// therefore adds what it knows its guest to use, and leaves to this what is beyond.

namespace godwit::kvm {
namespace {

constexpr std::uint64_t kPiecePagesMin = kGiB >> kPageShift;

/// As memory does it: a whole word at once where it is aligned.
void write_word(std::byte* at, const std::uint8_t* data, std::uint32_t bytes) {
  const auto aligned = reinterpret_cast<std::uintptr_t>(at) % bytes == 0;
  const auto store = [&](auto word) {
    std::memcpy(&word, data, sizeof word);
    // release: a store of the guest's, which x86 orders behind all before it.
    __atomic_store_n(reinterpret_cast<decltype(word)*>(at), word, __ATOMIC_RELEASE);
  };
  switch (aligned ? bytes : 0) {
    case sizeof(std::uint64_t):
      return store(std::uint64_t{});
    case sizeof(std::uint32_t):
      return store(std::uint32_t{});
    case sizeof(std::uint16_t):
      return store(std::uint16_t{});
    default:
      std::memcpy(at, data, bytes);
  }
}

std::vector<std::vector<bool>> no_pieces(const engine::GuestMemory& memory, std::uint64_t pages) {
  std::vector<std::vector<bool>> added;
  for (const auto& region : memory.regions) {
    added.emplace_back((region.page_count + pages - 1) / pages);
  }
  return added;
}

}  // namespace

std::uint64_t piece_pages(const engine::GuestMemory& memory, std::uint32_t slots_max) {
  auto pages = kPiecePagesMin;
  const auto pieces = [&] {
    std::uint64_t sum = 0;
    for (const auto& region : memory.regions) {
      sum += (region.page_count + pages - 1) / pages;
    }
    return sum;
  };
  // No further than a piece for each region, however few slots there are.
  while (pieces() > std::max<std::uint64_t>(slots_max / 2, memory.regions.size())) {
    pages *= 2;
  }
  return pages;
}

MemoryPieces::MemoryPieces(Vm& vm, const engine::GuestMemory& memory, std::uint32_t slots_max)
    : vm_(vm),
      memory_(memory),
      piece_pages_(kvm::piece_pages(memory, slots_max)),
      added_(no_pieces(memory_, piece_pages_)) {}

Status MemoryPieces::add(PageRun run) {
  const auto& region = memory_.regions[run.region];
  const std::lock_guard lock(mutex_);
  auto& added = added_[run.region];
  for (auto piece = run.first / piece_pages_; piece * piece_pages_ < run.end(); ++piece) {
    if (!added[piece]) {
      const auto first = piece * piece_pages_;
      GODWIT_TRY(vm_.add_memslot({.gpa = region.gpa + (first << kPageShift),
                                  .page_count = std::min(piece_pages_, region.page_count - first),
                                  .host = region.guest + (first << kPageShift),
                                  .region = run.region,
                                  .first_page = first}));
      added[piece] = true;
    }
  }
  return {};
}

Status MemoryPieces::add_populated(engine::PopulatedScan& scan) {
  for (RegionIndex region = 0; region < memory_.regions.size(); ++region) {
    const auto pages = memory_.regions[region].page_count;
    for (std::uint64_t at = 0; at < pages;) {
      const bool there = [&] {
        const std::lock_guard lock(mutex_);
        return added_[region][at / piece_pages_];
      }();
      if (!there) {
        GODWIT_TRY_ASSIGN(const auto used, scan.first({region, at, pages - at}));
        if (used >= pages) {
          break;
        }
        GODWIT_TRY(add({region, used, 1}));
        at = used;
      }
      at = (at / piece_pages_ + 1) * piece_pages_;
    }
  }
  return {};
}

Result<bool> MemoryPieces::on_mmio(kvm_run& run) {
  const auto gpa = run.mmio.phys_addr;
  const auto bytes = run.mmio.len;
  if (bytes == 0 || bytes > sizeof run.mmio.data) {
    return false;
  }
  for (RegionIndex index = 0; index < memory_.regions.size(); ++index) {
    const auto& region = memory_.regions[index];
    const auto size = region.page_count << kPageShift;
    if (gpa < region.gpa || gpa - region.gpa >= size || size - (gpa - region.gpa) < bytes) {
      continue;
    }
    const PageId page{index, (gpa - region.gpa) >> kPageShift};
    GODWIT_TRY(add({index, page.index, 1}));
    // Outside of all locks: at a migration's target this may wait for the page.
    auto* at = region.guest + (gpa - region.gpa);
    if (run.mmio.is_write != 0) {
      write_word(at, run.mmio.data, bytes);
      vm_.note_written(page);
    } else {
      std::memcpy(run.mmio.data, at, bytes);
    }
    return true;
  }
  return false;
}

}  // namespace godwit::kvm
