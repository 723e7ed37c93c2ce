#include "guest/workload.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::guest {
namespace {

using Page = std::vector<std::uint64_t>;

Page page_of(std::uint64_t seed, std::uint32_t fill, std::uint64_t page, std::uint64_t generation) {
  Page words(kPageWords, ~0ULL);
  write_page(words.data(), seed, fill, page, generation);
  return words;
}

TEST(PageContent, LoopsFollowTheDefinition) {
  for (const auto fill : {kFillRandom, kFillCompressible, kFillZero, kFillAlternating}) {
    for (const std::uint64_t generation : {0U, 1U, 2U, 77U}) {
      const auto words = page_of(3, fill, 12345, generation);
      for (std::uint64_t i = 0; i < kPageWords; ++i) {
        ASSERT_EQ(words[i], page_word(3, fill, 12345, generation, i));
      }
      EXPECT_TRUE(check_page(words.data(), 3, fill, 12345, generation));
    }
  }
}

TEST(PageContent, EveryBitIsChecked) {
  for (const auto fill : {kFillRandom, kFillCompressible, kFillZero, kFillAlternating}) {
    for (const std::uint64_t generation : {0U, 1U}) {
      auto words = page_of(3, fill, 9, generation);
      for (std::uint64_t bit = 0; bit < kPageBytes * 8; bit += 7) {
        words[bit / 64] ^= 1ULL << (bit % 64);
        ASSERT_FALSE(check_page(words.data(), 3, fill, 9, generation)) << bit;
        words[bit / 64] ^= 1ULL << (bit % 64);
      }
    }
  }
}

TEST(PageContent, AlternatingMeansEverySecondPageIsZeroAtFirst) {
  EXPECT_EQ(page_of(3, kFillAlternating, 9, 0), Page(kPageWords, 0));
  EXPECT_EQ(page_of(3, kFillAlternating, 8, 0), page_of(3, kFillRandom, 8, 0));
  EXPECT_EQ(page_of(3, kFillAlternating, 9, 1), page_of(3, kFillRandom, 9, 1));
}

TEST(PageContent, DiffersByPageGenerationAndSeed) {
  const auto words = page_of(3, kFillRandom, 9, 4);
  EXPECT_FALSE(check_page(words.data(), 4, kFillRandom, 9, 4));
  EXPECT_FALSE(check_page(words.data(), 3, kFillRandom, 10, 4));
  EXPECT_FALSE(check_page(words.data(), 3, kFillRandom, 9, 5));
  EXPECT_FALSE(check_page(Page(kPageWords, 0).data(), 3, kFillRandom, 9, 4));
}

TEST(PageContent, NoTornPageOfTwoGenerationsPasses) {
  const auto old_page = page_of(1, kFillRandom, 5, 1);
  const auto new_page = page_of(1, kFillRandom, 5, 2);
  for (std::uint64_t cut = 1; cut < kPageWords; ++cut) {
    auto torn = new_page;
    std::copy(old_page.begin(), old_page.begin() + static_cast<std::ptrdiff_t>(cut), torn.begin());
    ASSERT_FALSE(check_page(torn.data(), 1, kFillRandom, 5, 1));
    ASSERT_FALSE(check_page(torn.data(), 1, kFillRandom, 5, 2));
  }
}

TEST(PageContent, WordsLookRandomAndDoNotRepeat) {
  std::set<std::uint64_t> seen;
  std::uint64_t ones = 0;
  std::vector<std::uint64_t> bytes(256, 0);
  for (std::uint64_t page = 0; page < 64; ++page) {
    for (const auto word : page_of(1, kFillRandom, page, 1)) {
      EXPECT_TRUE(seen.insert(word).second);
      ones += static_cast<std::uint64_t>(__builtin_popcountll(word));
      for (unsigned i = 0; i < 64; i += 8) {
        ++bytes[(word >> i) & 255];
      }
    }
  }
  const double bits = 64.0 * kPageBytes * 8;
  EXPECT_NEAR(static_cast<double>(ones) / bits, 0.5, 0.002);
  for (const auto count : bytes) {  // 1024 expected, sigma 32
    EXPECT_NEAR(static_cast<double>(count), 1024, 200);
  }
}

TEST(FindGeneration, NamesTheOldContent) {
  const auto stale = page_of(1, kFillCompressible, 5, 3);
  EXPECT_EQ(find_generation(stale.data(), 1, kFillCompressible, 5, 40), 3U);
  // Here the table is stale.
  EXPECT_EQ(find_generation(stale.data(), 1, kFillCompressible, 5, 2), 3U);
  EXPECT_EQ(find_generation(Page(kPageWords, 1).data(), 1, kFillCompressible, 5, 3), kNoGeneration);
  const auto first = page_of(1, kFillCompressible, 5, 0);
  EXPECT_EQ(find_generation(first.data(), 1, kFillCompressible, 5, 9), 0U);
}

TEST(Slices, CoverAllPagesOnce) {
  for (const std::uint64_t pages : {64U, 65U, 1000U, 262143U}) {
    for (const std::uint32_t vcpus : {1U, 2U, 3U, 64U}) {
      std::uint64_t next = 0;
      for (std::uint32_t v = 0; v < vcpus; ++v) {
        const auto slice = slice_of(pages, vcpus, v);
        EXPECT_EQ(slice.first, next);
        EXPECT_GE(slice.end - slice.first, pages / vcpus);
        next = slice.end;
      }
      EXPECT_EQ(next, pages);
    }
  }
}

/// A platform in virtual time: touches take as long as the test says.
struct FakePlatform {
  std::vector<std::uint64_t> memory = std::vector<std::uint64_t>(64 * kPageWords, 0);
  std::uint64_t clock = 1000;
  std::uint64_t touch_ticks = 1;
  std::uint64_t slept = 0;
  std::uint64_t touches = 0;
  std::uint64_t sum = 0;
  std::uint64_t steps = 0;
  std::uint64_t stop_at = 10;
  std::vector<std::uint64_t> counters;
  std::vector<std::uint32_t> slow_counts;
  std::uint64_t errors = 0;

  std::uint64_t now() { return clock; }
  void sleep(std::uint64_t ticks) {
    clock += ticks;
    slept += ticks;
  }
  Gate begin_touch() { return Gate::kGo; }
  std::uint64_t* words(std::uint64_t gpa) { return memory.data() + gpa / 8; }
  void wrote(std::uint64_t gpa) {
    if (gpa >= 16 * kPageBytes) {
      ++touches;
      clock += touch_ticks;
    }
  }
  std::uint64_t generation_sum() { return sum; }
  void set_generation_sum(std::uint64_t value) { sum = value; }
  void check_canaries() {}
  std::uint32_t doorbell(std::uint64_t step,
                         std::uint64_t counter,
                         std::uint64_t,
                         std::uint32_t slow_count) {
    EXPECT_EQ(step, ++steps);
    counters.push_back(counter);
    slow_counts.push_back(slow_count);
    return steps == stop_at ? kCommandStop : kCommandNone;
  }
  void filled() {}
  void report_error(std::uint32_t, std::uint64_t, std::uint64_t, std::uint64_t) { ++errors; }
  void sweep_done(std::uint64_t, std::uint64_t, std::uint64_t) {}
};

WorkloadParams fake_params(std::uint32_t workload) {
  WorkloadParams params{};
  params.vcpus = 1;
  params.workload = workload;
  params.fill = kFillRandom;
  params.ticks_per_ms = 1'000'000;
  params.table_gpa = 8 * kPageBytes;
  params.blocks_gpa = 0;
  params.data_pages = 32;
  params.working_set_pages = 32;
  params.segment_count = 1;
  params.segments[0] = {0, 16 * kPageBytes};
  return params;
}

TEST(Steps, EndAfterAHundredMicrosecondsOrALongTouch) {
  for (const std::uint64_t touch_us : {1U, 30U}) {
    FakePlatform platform;
    platform.touch_ticks = touch_us * 1000;
    VcpuBlock block{};
    WorkloadState state{};
    const auto params = fake_params(kSequentialWrite);
    VcpuWorkload<FakePlatform>(params, 0, block, state, platform).run();
    const std::uint64_t expected = touch_us > kLongTouchUs ? touch_us * 1000 : kStepUs * 1000;
    for (std::size_t i = 1; i < platform.counters.size(); ++i) {
      EXPECT_EQ(platform.counters[i] - platform.counters[i - 1], expected);
      EXPECT_EQ(platform.slow_counts[i], touch_us > kSlowTouchUs ? 1U : 0U);
    }
    EXPECT_EQ(platform.errors, 0U);
  }
}

TEST(Steps, SlowTouchesOfAStepAllFit) {
  FakePlatform platform;
  platform.touch_ticks = kSlowTouchUs * 1000 + 1;
  VcpuBlock block{};
  WorkloadState state{};
  const auto params = fake_params(kSequentialWrite);
  VcpuWorkload<FakePlatform>(params, 0, block, state, platform).run();
  for (const auto count : platform.slow_counts) {
    EXPECT_EQ(count, 20U);
  }
}

TEST(Steps, AnIdleGuestSleepsAMillisecondAStep) {
  FakePlatform platform;
  VcpuBlock block{};
  WorkloadState state{};
  const auto params = fake_params(kIdle);
  VcpuWorkload<FakePlatform>(params, 0, block, state, platform).run();
  EXPECT_EQ(platform.touches, 32U);  // the fill only
  EXPECT_EQ(state.touches, 10U);     // its steps
  EXPECT_EQ(platform.slept, 10'000'000U);
}

TEST(Pace, KeepsTheRate) {
  FakePlatform platform;
  platform.stop_at = 1000;
  VcpuBlock block{};
  WorkloadState state{};
  auto params = fake_params(kSequentialWrite);
  params.touch_period_q8 = 40'000 << 8;  // a touch each 40 us
  VcpuWorkload<FakePlatform>(params, 0, block, state, platform).run();
  const auto elapsed = platform.counters.back() - platform.counters.front();
  const auto touches = platform.touches - params.data_pages;
  EXPECT_EQ(state.touches, touches);
  EXPECT_NEAR(static_cast<double>(touches) * 40'000 / static_cast<double>(elapsed), 1.0, 0.01);
}

}  // namespace
}  // namespace godwit::guest
