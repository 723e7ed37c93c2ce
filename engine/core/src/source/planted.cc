#include "source/planted.h"

#include <algorithm>
#include <cstring>

#include "source/guest_bytes.h"

namespace godwit::engine {
namespace {

/// So many that some are written again in the few milliseconds until the guest stops, even where it
/// hardly gets a processor in them.
constexpr std::size_t kMostLost = 1024;

}  // namespace

std::uint64_t PlantedLoss::absorb_dirty(const DirtyLedger::Announce& announce, bool guest_stopped) {
  const auto pages = ledger_.absorb_dirty_losing(
      announce, [&](PageId page) { return loses(page, guest_stopped); });
  if (guest_stopped) {
    settle(announce);
  }
  return pages;
}

bool PlantedLoss::loses(PageId page, bool guest_stopped) {
  if (page_) {
    return *page_ == page;
  }
  if (std::ranges::any_of(lost_, [&](const Lost& lost) { return lost.page == page; })) {
    return true;
  }
  // A page that is pending goes after this mark's write.
  if (guest_stopped || lost_.size() == kMostLost ||
      ledger_.pending()[page.region].test(page.index)) {
    return false;
  }
  for (const auto& run : candidates_) {
    if (run.region == page.region && page.index >= run.first && page.index < run.end()) {
      copy_guest_page(lost_.emplace_back(Lost{page, {}}).content.data(), memory_.page(page));
      return true;
    }
  }
  return false;
}

void PlantedLoss::settle(const DirtyLedger::Announce& announce) {
  for (const auto& lost : lost_) {
    if (!page_ && std::memcmp(lost.content.data(), memory_.page(lost.page), kPageBytes) != 0) {
      page_ = lost.page;
    } else {
      ledger_.add_pending({lost.page.region, lost.page.index, 1}, announce);
    }
  }
  lost_.clear();
}

}  // namespace godwit::engine
