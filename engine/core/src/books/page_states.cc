#include "books/page_states.h"

#include <algorithm>

#include <fmt/format.h>

#include "godwit/base/check.h"
#include "godwit/wire/format.h"

#include "books/dirty_ledger.h"

namespace godwit::engine {
namespace {

constexpr std::uint8_t kStateMask = 0x3;
constexpr std::uint8_t kPresent = 0;
constexpr std::uint8_t kAbsent = 1;
constexpr std::uint8_t kClaimed = 2;
constexpr std::uint8_t kMapped = 3;
constexpr std::uint8_t kRequested = 0x4;
constexpr std::uint8_t kBacked = 0x8;
constexpr unsigned kOwnerShift = 4;

constexpr std::uint8_t byte(unsigned value) {
  return static_cast<std::uint8_t>(value);
}
constexpr std::uint8_t owner_bits(PageOwner owner) {
  return byte(static_cast<unsigned>(owner) << kOwnerShift);
}
constexpr std::uint64_t kWindow = 64;

}  // namespace

Result<std::unique_ptr<PageStates>> PageStates::create(
    const std::vector<std::uint64_t>& region_pages, Placing placing, std::uint64_t block_pages) {
  auto states = std::unique_ptr<PageStates>(new PageStates(region_pages, placing));
  for (const auto pages : region_pages) {
    GODWIT_TRY_ASSIGN(auto table, Mapping::anonymous(pages));
    states->tables_.push_back(std::move(table));
  }
  if (block_pages > 1) {
    states->blocks_ = std::make_unique<MapBlocks>(region_pages, block_pages);
  }
  return states;
}

std::vector<std::uint64_t> PageStates::chunks_of(const std::vector<std::uint64_t>& region_pages) {
  std::vector<std::uint64_t> chunks;
  for (const auto pages : region_pages) {
    chunks.push_back((pages + wire::kChunkPages - 1) / wire::kChunkPages);
  }
  return chunks;
}

bool PageStates::contains(PageRun run) const {
  return run.region < region_pages_.size() && run.count > 0 &&
         run.first < region_pages_[run.region] &&
         run.count <= region_pages_[run.region] - run.first;
}

bool PageStates::all_absent(PageRun run) const {
  for (auto index = run.first; index < run.end(); ++index) {
    if ((at({run.region, index}).load(std::memory_order_acquire) & kStateMask) != kAbsent) {
      return false;
    }
  }
  return true;
}

Result<std::uint64_t> PageStates::mark_absent(PageRun run) {
  if (!contains(run)) {
    return fail(ErrorCode::kProtocol,
                "stale",
                fmt::format("region {} pages {}+{} lie outside the guest's memory",
                            run.region,
                            run.first,
                            run.count));
  }
  for (auto chunk = run.first / wire::kChunkPages; chunk <= (run.end() - 1) / wire::kChunkPages;
       ++chunk) {
    announced_[run.region].set(chunk / 64, 1ULL << (chunk % 64));
  }
  std::uint64_t fresh = 0;
  std::uint64_t hash = 0;
  std::uint64_t mapped = 0;
  const bool maps = placing_ == Placing::kMaps;
  for (auto index = run.first; index < run.end(); ++index) {
    auto& state = at({run.region, index});
    auto seen = state.load(std::memory_order_relaxed);
    const auto before = seen & kStateMask;
    if (before == kAbsent) {
      continue;
    }
    // Announcements come before the guest runs here: no other thread changes a page that is
    // present.
    if ((before != kPresent && !(maps && before == kMapped)) ||
        !state.compare_exchange_strong(
            seen, byte((maps ? 0 : seen & kBacked) | kAbsent), std::memory_order_acq_rel)) {
      return fail(
          ErrorCode::kProtocol,
          "stale",
          fmt::format("region {} page {} was announced old while in use", run.region, index));
    }
    ++fresh;
    if (blocks_) {
      blocks_->became_absent({run.region, index});
    }
    mapped += before == kMapped ? 1 : 0;
    hash ^= page_set_hash({run.region, index});
  }
  absent_.fetch_add(fresh, std::memory_order_release);
  absent_hash_.fetch_xor(hash, std::memory_order_relaxed);
  return mapped;
}

ClaimResult PageStates::claim(PageId page, PageOwner owner) {
  auto& state = at(page);
  auto seen = state.load(std::memory_order_acquire);
  while ((seen & kStateMask) == kAbsent) {
    const auto next = byte((seen & (kRequested | kBacked)) | kClaimed | owner_bits(owner));
    // acq_rel: the one winner of this exchange is the page's only writer; pairs with publish() and
    // abandon().
    if (state.compare_exchange_weak(
            seen, next, std::memory_order_acq_rel, std::memory_order_acquire)) {
      return {true, (seen & kBacked) != 0};
    }
  }
  return {};
}

bool PageStates::publish(PageId page, PageOwner owner, bool backed) {
  auto& state = at(page);
  auto seen = state.load(std::memory_order_relaxed);
  std::uint8_t next = 0;
  bool now_filled = false;
  do {
    // A page that is published by another than its owner had two writers.
    GODWIT_CHECK((seen & kStateMask) == kClaimed &&
                 (seen >> kOwnerShift) == static_cast<unsigned>(owner));
    const bool filled = backed || (seen & kBacked) != 0;
    now_filled = filled;
    next =
        byte((filled && placing_ == Placing::kMaps ? kMapped : kPresent) | (filled ? kBacked : 0));
    // release: the page's bytes are visible to whoever sees it present; pairs with the acquires
    // here.
  } while (!state.compare_exchange_weak(
      seen, next, std::memory_order_acq_rel, std::memory_order_relaxed));
  installed_.fetch_add(1, std::memory_order_relaxed);
  absent_hash_.fetch_xor(page_set_hash(page), std::memory_order_relaxed);
  // Before the count of all: whoever sees that nothing is absent must not find a block to wait for.
  const bool map_block = blocks_ && blocks_->became_valid(page, now_filled);
  absent_.fetch_sub(1, std::memory_order_acq_rel);
  return blocks_ ? map_block : (seen & kRequested) != 0;
}

void PageStates::abandon(PageId page, PageOwner owner) {
  auto& state = at(page);
  auto seen = state.load(std::memory_order_relaxed);
  do {
    GODWIT_CHECK((seen & kStateMask) == kClaimed &&
                 (seen >> kOwnerShift) == static_cast<unsigned>(owner));
  } while (!state.compare_exchange_weak(seen,
                                        byte((seen & (kRequested | kBacked)) | kAbsent),
                                        std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
}

FaultDecision PageStates::on_fault(PageId page) {
  auto& state = at(page);
  auto seen = state.load(std::memory_order_acquire);
  while ((seen & kStateMask) == kAbsent || (seen & kStateMask) == kClaimed) {
    const bool first = (seen & kRequested) == 0;
    // Set even on a claimed page, so that its owner knows somebody waits (for the latency figure).
    if (!first ||
        state.compare_exchange_weak(
            seen, byte(seen | kRequested), std::memory_order_acq_rel, std::memory_order_acquire)) {
      return first && (seen & kStateMask) == kAbsent ? FaultDecision::kRequest
                                                     : FaultDecision::kWait;
    }
  }
  return FaultDecision::kMap;
}

PageRun PageStates::mappable_run(PageId page) const {
  const auto usable = [&](std::uint64_t index) {
    const auto seen = at({page.region, index}).load(std::memory_order_acquire);
    return (seen & kStateMask) == kPresent && (seen & kBacked) != 0;
  };
  PageRun run{page.region, page.index, 1};
  if ((at(page).load(std::memory_order_acquire) & kBacked) == 0) {
    return run;
  }
  const auto low = page.index / kWindow * kWindow;
  const auto high = std::min(low + kWindow, region_pages_[page.region]);
  while (run.first > low && usable(run.first - 1)) {
    --run.first;
    ++run.count;
  }
  while (run.end() < high && usable(run.end())) {
    ++run.count;
  }
  return run;
}

void PageStates::mark_mapped(PageRun run) {
  for (auto index = run.first; index < run.end(); ++index) {
    auto& state = at({run.region, index});
    auto seen = state.load(std::memory_order_relaxed);
    while ((seen & kStateMask) == kPresent &&
           !state.compare_exchange_weak(seen,
                                        byte((seen & kBacked) | kMapped),
                                        std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
    }
  }
}

PageRun PageStates::next_unmapped(RegionIndex region,
                                  std::uint64_t from,
                                  std::uint64_t most) const {
  const auto usable = [&](std::uint64_t index) {
    const auto seen = at({region, index}).load(std::memory_order_acquire);
    return (seen & kStateMask) == kPresent && (seen & kBacked) != 0;
  };
  const auto end = region_pages_[region];
  while (from < end) {
    // A sparse guest is not walked page by page.
    if (const auto chunk = from / wire::kChunkPages; !announced_[region].test(chunk)) {
      from = std::min((chunk + 1) * wire::kChunkPages, end);
    } else if (!usable(from)) {
      ++from;
    } else {
      break;
    }
  }
  PageRun run{region, from, 0};
  while (run.end() < end && run.count < most && usable(run.end())) {
    ++run.count;
  }
  return run;
}

void PageStates::for_each_absent(const std::function<void(PageRun)>& found,
                                 const std::function<void(PageId)>& asked) const {
  for (RegionIndex region = 0; region < region_pages_.size(); ++region) {
    PageRun open{region, 0, 0};
    const auto close = [&] {
      if (open.count != 0 && found) {
        found(open);
      }
      open.count = 0;
    };
    const auto& announced = announced_[region];
    const auto chunks = (region_pages_[region] + wire::kChunkPages - 1) / wire::kChunkPages;
    for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
      if (!announced.test(chunk)) {
        continue;
      }
      const auto end = std::min((chunk + 1) * wire::kChunkPages, region_pages_[region]);
      for (auto index = chunk * wire::kChunkPages; index < end; ++index) {
        const auto seen = at({region, index}).load(std::memory_order_acquire);
        if ((seen & kStateMask) != kAbsent) {
          continue;
        }
        if ((seen & kRequested) != 0 && asked) {
          asked({region, index});
        }
        if (open.count == 0 || open.end() != index) {
          close();
          open.first = index;
        }
        ++open.count;
      }
    }
    close();
  }
}

}  // namespace godwit::engine
