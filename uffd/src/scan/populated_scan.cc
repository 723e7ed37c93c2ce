#include "godwit/uffd/populated_scan.h"

#include "memory_kind.h"

namespace godwit::uffd {

std::unique_ptr<engine::PopulatedScan> make_populated_scan(const engine::GuestMemory& memory) {
  switch (memory_kind(memory)) {
    case MemoryKind::kHuge:
      return make_huge_scan(memory);
    case MemoryKind::kAnonymous:
      return make_anonymous_scan(memory);
    case MemoryKind::kMemfd:
      break;
  }
  return make_memfd_scan(memory);
}

}  // namespace godwit::uffd
