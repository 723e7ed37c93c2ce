#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "godwit/base/units.h"
#include "godwit/engine/ports/memory.h"

#include "books/dirty_ledger.h"

namespace godwit::engine {

/// SourceOptions::planted_loss: loses dirty marks, so that one page stays stale. The one planted
/// fault that needs the source's book; all others are decorators of ports, outside of the engine.
///
/// How it is sure to hit: a mark may tell of a write that was sent all the same, because the page
/// went after it, and to lose that mark loses nothing. So the marks of many pages are lost, and
/// when the guest has stopped, the first one that has changed since its mark was lost, and hence
/// since it was sent, stays lost; the others are made good. Thread: migration.
class PlantedLoss {
 public:
  /// `candidates`: pages whose loss the guest notices; empty: nothing is planted.
  PlantedLoss(const GuestMemory& memory,
              DirtyLedger& ledger,
              const std::vector<PageRun>& candidates)
      : memory_(memory), ledger_(ledger), candidates_(candidates) {}

  [[nodiscard]] bool planted() const { return !candidates_.empty(); }
  /// As DirtyLedger::absorb_dirty(), but loses marks. With `guest_stopped` the loss is final.
  std::uint64_t absorb_dirty(const DirtyLedger::Announce& announce, bool guest_stopped);
  /// The page that stays stale, once the guest has stopped and if there is one.
  [[nodiscard]] std::optional<PageId> page() const { return page_; }

 private:
  /// A page whose marks get lost, and what it held when the first of them did.
  struct Lost {
    PageId page;
    std::array<std::byte, kPageBytes> content;
  };
  bool loses(PageId page, bool guest_stopped);
  void settle(const DirtyLedger::Announce& announce);

  const GuestMemory& memory_;
  DirtyLedger& ledger_;
  const std::vector<PageRun>& candidates_;
  std::vector<Lost> lost_;
  std::optional<PageId> page_;
};

}  // namespace godwit::engine
