#include "books/dirty_ledger.h"

#include <algorithm>
#include <bit>

namespace godwit::engine {

std::uint64_t page_set_hash(PageId page) {
  std::uint64_t z =
      (static_cast<std::uint64_t>(page.region) << 52) ^ (page.index + 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

namespace {

std::uint64_t word_hash(RegionIndex region, std::uint64_t word, std::uint64_t bits) {
  std::uint64_t hash = 0;
  while (bits != 0) {
    hash ^= page_set_hash({region, word * 64 + static_cast<unsigned>(std::countr_zero(bits))});
    bits &= bits - 1;
  }
  return hash;
}

}  // namespace

DirtyLedger::DirtyLedger(std::vector<std::uint64_t> region_pages)
    : region_pages_(std::move(region_pages)),
      dirty_(region_pages_),
      pending_(region_pages_),
      in_flight_(region_pages_),
      ever_(region_pages_) {
  for (const auto pages : region_pages_) {
    heat_.emplace_back(pages);
  }
}

void DirtyLedger::add_word(RegionIndex region,
                           std::uint64_t word,
                           std::uint64_t bits,
                           const Announce& announce) {
  const auto fresh = bits & ~pending_[region].set(word, bits);
  if (fresh == 0) {
    return;
  }
  unique_pages_ += static_cast<unsigned>(std::popcount(fresh & ~ever_[region].set(word, fresh)));
  // release: pairs with pending_pages(); the counter is never behind a visible bit by more than
  // this call.
  pending_pages_.fetch_add(static_cast<unsigned>(std::popcount(fresh)), std::memory_order_release);
  pending_hash_.fetch_xor(word_hash(region, word, fresh), std::memory_order_relaxed);
  for_each_run(word, fresh, [&](std::uint64_t first, std::uint64_t count) {
    announce({region, first, count});
  });
}

void DirtyLedger::add_pending(PageRun run, const Announce& announce) {
  // Announce in runs as long as possible: the whole first round is one call per populated run.
  PageRun open{run.region, run.first, 0};
  const auto extend = [&](PageRun part) {
    if (open.count != 0 && open.end() == part.first) {
      open.count += part.count;
      return;
    }
    if (open.count != 0) {
      announce(open);
    }
    open = part;
  };
  auto page = run.first;
  while (page < run.end()) {
    const auto bit = static_cast<unsigned>(page % 64);
    const auto count = static_cast<unsigned>(std::min<std::uint64_t>(64 - bit, run.end() - page));
    add_word(run.region, page / 64, bit_mask(bit, count), extend);
    page += count;
  }
  if (open.count != 0) {
    announce(open);
  }
}

std::uint64_t DirtyLedger::absorb_dirty(const Announce& announce) {
  return absorb_dirty_losing(announce, nullptr);
}

std::uint64_t DirtyLedger::absorb_dirty_losing(const Announce& announce,
                                               const std::function<bool(PageId)>& lose) {
  std::uint64_t marked = 0;
  for (RegionIndex region = 0; region < dirty_.size(); ++region) {
    dirty_[region].harvest([&](std::uint64_t word, std::uint64_t bits) {
      for (auto left = bits; left != 0; left &= left - 1) {
        const auto bit = static_cast<unsigned>(std::countr_zero(left));
        const PageId page{region, word * 64 + bit};
        if (lose && lose(page)) {
          bits &= ~(1ULL << bit);
          continue;
        }
        auto& heat = heat_[region][page.index];
        heat = static_cast<std::uint8_t>(std::min(255, heat / 2 + 128));
      }
      marked += static_cast<unsigned>(std::popcount(bits));
      add_word(region, word, bits, announce);
    });
  }
  return marked;
}

std::uint64_t DirtyLedger::take(RegionIndex region, std::uint64_t word, std::uint64_t mask) {
  const auto mine = pending_[region].claim(word, mask);
  if (mine != 0) {
    pending_hash_.fetch_xor(word_hash(region, word, mine), std::memory_order_relaxed);
    // release: pairs with pending_pages(): who reads zero sees every claim.
    pending_pages_.fetch_sub(static_cast<unsigned>(std::popcount(mine)), std::memory_order_release);
  }
  return mine;
}

std::uint64_t DirtyLedger::claim(RegionIndex region, std::uint64_t word, std::uint64_t mask) {
  return take(region, word, mask);
}

std::uint64_t DirtyLedger::claim_in_flight(RegionIndex region,
                                           std::uint64_t word,
                                           std::uint64_t mask) {
  // In flight is set before the claim: the urgent loop, which finds the page no longer pending,
  // then always sees that it is on its way. Bits that the claim does not win are taken off again.
  // Pages that are not pending are left alone: their bit belongs to whoever has them in flight.
  mask &= pending_[region].word(word);
  if (mask == 0) {
    return 0;
  }
  in_flight_[region].set(word, mask);
  const auto mine = take(region, word, mask);
  if (mine != mask) {
    in_flight_[region].claim(word, mask & ~mine);
  }
  return mine;
}

void DirtyLedger::give_back(
    const std::vector<PageRun>& missing,
    const std::function<void(RegionIndex, std::uint64_t word, std::uint64_t bits)>& again) {
  // A page that was never claimed cannot have arrived, so what is pending must be among the missing.
  // Nothing here checks that: the caller compares count and hash of the result with the target's.
  for (RegionIndex region = 0; region < in_flight_.size(); ++region) {
    in_flight_[region].harvest([](std::uint64_t, std::uint64_t) {});
  }
  for (const auto& run : missing) {
    auto page = run.first;
    while (page < run.end()) {
      const auto bit = static_cast<unsigned>(page % 64);
      const auto count = static_cast<unsigned>(std::min<std::uint64_t>(64 - bit, run.end() - page));
      const auto word = page / 64;
      const auto bits = bit_mask(bit, count);
      if (const auto sent = bits & ~pending_[run.region].word(word); sent != 0) {
        again(run.region, word, sent);
        add_word(run.region, word, sent, [](PageRun) {});
      }
      page += count;
    }
  }
}

void DirtyLedger::landed(RegionIndex region, std::uint64_t word, std::uint64_t mask) {
  in_flight_[region].claim(word, mask);
}

}  // namespace godwit::engine
