#include "godwit/engine/page_scheduler.h"

#include <algorithm>
#include <bit>

namespace godwit::engine {

PageScheduler::PageScheduler(DirtyLedger& ledger) : ledger_(ledger) {}

void PageScheduler::start_round() {
  region_ = 0;
  word_ = 0;
}

void PageScheduler::claim_into(PageBatchPlan& plan,
                               RegionIndex region,
                               std::uint64_t word,
                               std::uint64_t mask) {
  // A word may hold more pages than the plan has room for: keep the lowest.
  auto room = kBatchPages - plan.count;
  std::uint64_t wanted = 0;
  for (auto bits = mask; bits != 0 && room > 0; bits &= bits - 1, --room) {
    wanted |= bits & (~bits + 1);
  }
  plan.region = region;
  for (auto mine = ledger_.claim_in_flight(region, word, wanted); mine != 0; mine &= mine - 1) {
    plan.pages[plan.count++] = word * 64 + static_cast<unsigned>(std::countr_zero(mine));
  }
}

bool PageScheduler::next_in_round(PageBatchPlan& plan) {
  plan.count = 0;
  plan.prefetched = 0;
  const auto& pending = ledger_.pending();
  while (region_ < pending.size()) {
    const auto& map = pending[region_];
    word_ = map.next_word(word_);
    if (word_ >= map.word_count()) {
      if (plan.count != 0) {
        return true;  // a batch never spans regions
      }
      ++region_;
      word_ = 0;
      continue;
    }
    claim_into(plan, region_, word_, map.word(word_));
    // The word is left only when it is empty: the urgent loop may have taken some of the pages that were wanted, and
    // then the plan has room for others of this word. Each turn either claims pages or follows somebody's claim.
    if (map.word(word_) == 0) {
      ++word_;
    }
    if (plan.count == kBatchPages) {
      return true;
    }
  }
  return plan.count != 0;
}

void PageScheduler::prepare_background() {
  start_round();
  std::array<std::size_t, 256> starts{};
  const auto each_pending = [&](auto&& visit) {
    const auto& pending = ledger_.pending();
    for (RegionIndex region = 0; region < pending.size(); ++region) {
      const auto& map = pending[region];
      for (auto word = map.next_word(0); word < map.word_count(); word = map.next_word(word + 1)) {
        for (auto bits = map.word(word); bits != 0; bits &= bits - 1) {
          const PageId page{region, word * 64 + static_cast<unsigned>(std::countr_zero(bits))};
          if (const auto heat = ledger_.heat(page); heat != 0) {
            visit(page, heat);
          }
        }
      }
    }
  };
  // The urgent loop may claim pages between the two passes: the second then finds fewer, never
  // more.
  each_pending([&](PageId, std::uint8_t heat) { ++starts[255 - heat]; });
  std::size_t total = 0;
  for (auto& start : starts) {
    total += std::exchange(start, total);
  }
  hot_.assign(total, HotPage{0, UINT64_MAX});
  each_pending([&](PageId page, std::uint8_t heat) {
    hot_[starts[255 - heat]++] = {page.region, page.index};
  });
  next_hot_ = 0;
}

bool PageScheduler::take_window(PageId around, PageBatchPlan& plan) {
  const auto word = around.index / 64;
  const auto bits = ledger_.pending()[around.region].word(word);
  if (bits == 0) {
    return false;
  }
  claim_into(plan, around.region, word, bits);
  plan.prefetched = plan.count;
  return plan.count != 0;
}

bool PageScheduler::take_hot(PageBatchPlan& plan) {
  while (next_hot_ < hot_.size() && plan.count < kBatchPages) {
    const auto page = hot_[next_hot_];
    if (page.index == UINT64_MAX) {
      ++next_hot_;
      continue;
    }
    if (plan.count != 0 && page.region != plan.region) {
      break;
    }
    ++next_hot_;
    claim_into(plan, page.region, page.index / 64, 1ULL << (page.index % 64));
  }
  std::sort(plan.pages.begin(), plan.pages.begin() + plan.count);
  return plan.count != 0;
}

bool PageScheduler::next_background(PageBatchPlan& plan) {
  plan.count = 0;
  plan.prefetched = 0;
  PageId near;
  while (hints_.pop(near)) {
    if (take_window(near, plan)) {
      return true;
    }
  }
  return take_hot(plan) || next_in_round(plan);
}

}  // namespace godwit::engine
