#include "guest_memory.h"

#include <utility>

#include "godwit/base/units.h"

namespace godwit::vmm {

Result<OwnedMemory> OwnedMemory::create(
    const std::vector<engine::MachineDescription::Region>& regions, const MemoryOptions& options) {
  OwnedMemory memory;
  for (const auto& region : regions) {
    const auto bytes = region.page_count << kPageShift;
    GODWIT_TRY_ASSIGN(auto file, create_memfd("godwit-guest", bytes));
    GODWIT_TRY_ASSIGN(auto guest, Mapping::shared(file.get(), 0, bytes));
    engine::MemoryRegion out;
    out.gpa = region.gpa;
    out.page_count = region.page_count;
    out.guest = guest.data();
    out.fd = file.get();
    if (options.with_alias) {
      GODWIT_TRY_ASSIGN(auto alias, Mapping::shared(file.get(), 0, bytes));
      out.alias = alias.data();
      memory.mappings_.push_back(std::move(alias));
    }
    memory.mappings_.push_back(std::move(guest));
    memory.files_.push_back(std::move(file));
    memory.view_.regions.push_back(out);
  }
  return memory;
}

}  // namespace godwit::vmm
