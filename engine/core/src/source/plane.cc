#include "source/plane.h"

namespace godwit::engine {
namespace {

std::vector<std::uint64_t> pages_of(const GuestMemory& memory) {
  std::vector<std::uint64_t> pages;
  for (const auto& region : memory.regions) {
    pages.push_back(region.page_count);
  }
  return pages;
}

}  // namespace

SourcePlane::SourcePlane(const GuestMemory& guest_memory, const SourceOptions& source_options)
    : memory(guest_memory),
      options(source_options),
      ledger(pages_of(guest_memory)),
      scheduler(ledger),
      sent_after_switch(ledger.region_pages()),
      sent_as_zero(ledger.region_pages()) {}

}  // namespace godwit::engine
