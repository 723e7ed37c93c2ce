#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "godwit/engine/atomic_bitmap.h"

// Two producers and a consumer, at the two places where a producer can be interrupted between its
// three steps. Producer A is stopped between leaf and summary, or between summary and top; there
// producer B marks and the consumer harvests, in every order. A mark that had completed before a harvest began must be out
// of the bitmap when the harvest has ended.

namespace godwit::engine {
namespace {

std::function<void()>* in_between = nullptr;
int interrupted_at = 1;

template <bool kSkip>
struct Interrupted {
  static constexpr bool kUpperOnlyWhenLowerWasZero = kSkip;
  static void between_leaf_and_summary() { interrupt(1); }
  static void between_summary_and_top() { interrupt(2); }
  static void interrupt(int place) {
    if (in_between != nullptr && place == interrupted_at) {
      auto* once = in_between;
      in_between = nullptr;
      (*once)();
    }
  }
};

struct Counts {
  unsigned runs = 0;
  unsigned missed = 0;
};

/// Steps of the others while A is stopped: 0 = nothing, 1 = B marks, 2 = the consumer harvests.
template <bool kSkip>
void run_one(const std::array<int, 4>& steps,
             std::uint64_t page_a,
             std::uint64_t page_b,
             Counts& counts) {
  BasicAtomicBitmap<Interrupted<kSkip>> map(262'208);
  bool b_done = false;
  bool b_found = false;
  bool missed = false;
  const auto harvest = [&] {
    map.harvest([&](std::uint64_t word, std::uint64_t bits) {
      b_found = b_found || (word == page_b / 64 && ((bits >> (page_b % 64)) & 1) != 0);
    });
    missed = missed || (b_done && !b_found);
  };
  std::function<void()> others = [&] {
    for (const auto step : steps) {
      if (step == 1) {
        map.set(page_b / 64, 1ULL << (page_b % 64));
        b_done = true;
        b_found = false;
      } else if (step == 2) {
        harvest();
      }
    }
  };
  in_between = &others;
  map.set(page_a / 64, 1ULL << (page_a % 64));
  in_between = nullptr;
  harvest();
  EXPECT_EQ(map.next_word(0), map.word_count())
      << "a mark was left behind when everybody had finished";
  ++counts.runs;
  counts.missed += missed ? 1 : 0;
}

template <bool kSkip>
Counts run_all(int place) {
  Counts counts;
  interrupted_at = place;
  // Of one leaf word, of one summary word, of one top word, and of another one.
  constexpr std::array<std::uint64_t, 5> kPages = {0, 5, 64, 4096, 262'144};
  for (int code = 0; code < 81; ++code) {
    const std::array<int, 4> steps = {code % 3, code / 3 % 3, code / 9 % 3, code / 27};
    for (const auto page_a : kPages) {
      for (const auto page_b : kPages) {
        run_one<kSkip>(steps, page_a, page_b, counts);
      }
    }
  }
  return counts;
}

TEST(BitmapInterleaving, LosesNoCompletedMarkInAnyOrder) {
  for (const int place : {1, 2}) {
    const auto counts = run_all<false>(place);
    EXPECT_EQ(counts.runs, 81U * 25);
    EXPECT_EQ(counts.missed, 0U);
  }
}

TEST(PlantedBug, UpperBitSetOnlyWhenTheWordBelowWasZeroIsFound) {
  EXPECT_GT(run_all<true>(1).missed, 0U);
  EXPECT_GT(run_all<true>(2).missed, 0U);
}

}  // namespace
}  // namespace godwit::engine
