#include "common/guest_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "godwit/base/units.h"
#include "godwit/uffd/populated_scan.h"

namespace godwit::vmm {
namespace {

constexpr std::uint64_t kHugeBlockPages = 2 * kMiB / kPageBytes;

/// A core dump would hold the guest, its secrets included, and take as long as writing it does, while
/// the peer of a migration waits.
Status keep_out_of_dumps(const Mapping& memory) {
  if (::madvise(memory.data(), memory.size(), MADV_DONTDUMP) != 0) {
    return fail_errno(errno, "MADV_DONTDUMP", "guest memory");
  }
  return {};
}

}  // namespace

Status OwnedMemory::add_memfd(engine::MemoryRegion region,
                              bool huge_pages,
                              const MemoryOptions& options) {
  const auto bytes = region.page_count << kPageShift;
  GODWIT_TRY_ASSIGN(
      auto file,
      huge_pages ? create_huge_memfd("godwit-guest", bytes) : create_memfd("godwit-guest", bytes));
  region.block_pages = huge_pages ? kHugeBlockPages : 1;
  GODWIT_TRY_ASSIGN(auto guest, Mapping::shared(file.get(), 0, bytes));
  region.guest = guest.data();
  region.fd = file.get();
  if (options.with_alias) {
    GODWIT_TRY_ASSIGN(auto alias, Mapping::shared(file.get(), 0, bytes));
    region.alias = alias.data();
    if (!options.in_core_dumps) {
      GODWIT_TRY(keep_out_of_dumps(alias));
    }
    mappings_.push_back(std::move(alias));
  }
  if (!options.in_core_dumps) {
    GODWIT_TRY(keep_out_of_dumps(guest));
  }
  mappings_.push_back(std::move(guest));
  files_.push_back(std::move(file));
  view_.regions.push_back(region);
  return {};
}

Status OwnedMemory::add_anonymous(engine::MemoryRegion region, const MemoryOptions& options) {
  GODWIT_TRY_ASSIGN(auto guest, Mapping::anonymous(region.page_count << kPageShift));
  // A huge page would make 511 pages that nobody ever wrote look populated, and populate them. A
  // kernel without huge pages (EINVAL) makes none.
  if (::madvise(guest.data(), guest.size(), MADV_NOHUGEPAGE) != 0 && errno != EINVAL) {
    return fail_errno(errno, "MADV_NOHUGEPAGE", "guest memory");
  }
  if (!options.in_core_dumps) {
    GODWIT_TRY(keep_out_of_dumps(guest));
  }
  region.guest = guest.data();
  mappings_.push_back(std::move(guest));
  view_.regions.push_back(region);
  return {};
}

Result<OwnedMemory> OwnedMemory::create(
    const std::vector<engine::MachineDescription::Region>& regions,
    Backing backing,
    const MemoryOptions& options) {
  OwnedMemory memory;
  for (const auto& region : regions) {
    engine::MemoryRegion out;
    out.gpa = region.gpa;
    out.page_count = region.page_count;
    GODWIT_TRY(backing == Backing::kAnonymous
                   ? memory.add_anonymous(out, options)
                   : memory.add_memfd(out, backing == Backing::kHugetlb, options));
  }
  return memory;
}

std::unique_ptr<engine::PopulatedScan> OwnedMemory::populated() const {
  return uffd::make_populated_scan(view_);
}

}  // namespace godwit::vmm
