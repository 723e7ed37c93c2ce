#include "host/warm.h"

#include <algorithm>

#include "godwit/base/mapping.h"
#include "godwit/base/units.h"
#include "godwit/kvm/memory_pieces.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vm.h"
#include "godwit/vmm/guest.h"

#include "host/memory.h"

namespace godwit::app {

void warm_memory(std::uint64_t bytes) {
  const auto most = std::min(bytes, available_memory() / 2) & ~(kPageBytes - 1);
  if (most == 0) {
    return;
  }
  auto memory = Mapping::anonymous(most);
  if (!memory) {
    return;  // a cold run is slower, not wrong
  }
  for (std::uint64_t at = 0; at < most; at += kPageBytes) {
    *reinterpret_cast<volatile char*>(memory->data() + at) = 1;
  }
}

void warm_slots(std::uint64_t memory_bytes, std::uint64_t populated_bytes) {
  // Address space only: no page of it is ever touched.
  const auto memory = Mapping::anonymous(memory_bytes);
  const auto system = kvm::System::open();
  if (!memory || !system) {
    return;
  }
  auto vm = kvm::Vm::create(*system);
  if (!vm) {
    return;
  }
  engine::GuestMemory guest;
  std::uint64_t offset = 0;
  for (const auto& region : vmm::region_layout(memory_bytes)) {
    guest.regions.push_back({region.gpa, region.page_count, memory->data() + offset});
    offset += region.page_count * kPageBytes;
  }
  kvm::MemoryPieces pieces(*vm, guest, system->memslots_max());
  auto left = populated_bytes / kPageBytes;
  for (RegionIndex region = 0; region < guest.regions.size() && left > 0; ++region) {
    const auto pages = std::min(left, guest.regions[region].page_count);
    if (auto added = pieces.add({region, 0, pages}); !added) {
      return;
    }
    left -= pages;
  }
}

}  // namespace godwit::app
