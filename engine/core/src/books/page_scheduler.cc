#include "books/page_scheduler.h"

#include <algorithm>
#include <bit>

namespace godwit::engine {
namespace {

constexpr std::uint64_t kChunkWords = wire::kChunkPages / 64;

/// Claims pages of one word for the plan. A word may hold more than the plan has room for: the
/// lowest go.
void claim_into(DirtyLedger& ledger,
                PageBatchPlan& plan,
                RegionIndex region,
                std::uint64_t word,
                std::uint64_t mask) {
  auto room = plan.limit - plan.count;
  std::uint64_t wanted = 0;
  for (auto bits = mask; bits != 0 && room > 0; bits &= bits - 1, --room) {
    wanted |= bits & (~bits + 1);
  }
  plan.region = region;
  for (auto mine = ledger.claim_in_flight(region, word, wanted); mine != 0; mine &= mine - 1) {
    plan.pages[plan.count++] = word * 64 + static_cast<unsigned>(std::countr_zero(mine));
  }
}

}  // namespace

/// Moves on to the next word with pending pages of this channel; false when the region has none.
bool RoundCursor::step_to_own_word() {
  const auto& map = ledger_.pending()[region_];
  while (true) {
    word_ = map.next_word(word_);
    if (word_ >= map.word_count()) {
      return false;
    }
    if (wire::channel_of({region_, word_ * 64}, channels_) == channel_) {
      return true;
    }
    word_ = (word_ / kChunkWords + 1) * kChunkWords;
  }
}

bool RoundCursor::next(PageBatchPlan& plan) {
  plan.count = 0;
  plan.prefetched = 0;
  const auto& pending = ledger_.pending();
  while (region_ < pending.size()) {
    if (!step_to_own_word()) {
      if (plan.count != 0) {
        return true;  // a batch never spans regions
      }
      ++region_;
      word_ = 0;
      continue;
    }
    const auto& map = pending[region_];
    claim_into(ledger_, plan, region_, word_, map.word(word_));
    // The word is left only when it is empty: another claimer may have taken some of the pages that
    // were wanted, and then the plan has room for others of this word. Each turn either claims
    // pages or follows somebody's claim.
    if (map.word(word_) == 0) {
      ++word_;
    }
    if (plan.count == plan.limit) {
      return true;
    }
  }
  return plan.count != 0;
}

PageScheduler::PageScheduler(DirtyLedger& ledger) : ledger_(ledger), rest_(ledger) {}

void PageScheduler::prepare_background() {
  const std::lock_guard lock(mutex_);
  rest_.restart();
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
  claim_into(ledger_, plan, around.region, word, bits);
  plan.prefetched = plan.count;
  return plan.count != 0;
}

bool PageScheduler::take_hot(PageBatchPlan& plan) {
  while (next_hot_ < hot_.size() && plan.count < plan.limit) {
    const auto page = hot_[next_hot_];
    if (page.index == UINT64_MAX) {
      ++next_hot_;
      continue;
    }
    if (plan.count != 0 && page.region != plan.region) {
      break;
    }
    ++next_hot_;
    claim_into(ledger_, plan, page.region, page.index / 64, 1ULL << (page.index % 64));
  }
  std::sort(plan.pages.begin(), plan.pages.begin() + plan.count);
  return plan.count != 0;
}

bool PageScheduler::next_background(PageBatchPlan& plan) {
  const std::lock_guard lock(mutex_);
  plan.count = 0;
  plan.prefetched = 0;
  PageId near;
  while (hints_.pop(near)) {
    if (take_window(near, plan)) {
      return true;
    }
  }
  return take_hot(plan) || rest_.next(plan);
}

}  // namespace godwit::engine
