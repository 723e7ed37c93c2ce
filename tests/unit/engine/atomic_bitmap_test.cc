#include "godwit/engine/atomic_bitmap.h"

#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "godwit/base/random.h"

namespace godwit::engine {
namespace {

TEST(AtomicBitmap, HarvestsInAddressOrderAndLeavesNothing) {
  AtomicBitmap map(64 * 70 + 3);
  map.set(70, 0b101);
  map.set(1, 1ULL << 63);
  map.set(1, 1);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
  map.harvest([&](std::uint64_t word, std::uint64_t bits) { found.emplace_back(word, bits); });
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> expected = {{1, (1ULL << 63) | 1},
                                                                         {70, 0b101}};
  EXPECT_EQ(found, expected);
  map.harvest([](std::uint64_t, std::uint64_t) { ADD_FAILURE() << "a bit was left"; });
}

TEST(AtomicBitmap, ClaimReturnsOnlyWhatWasSet) {
  AtomicBitmap map(64);
  EXPECT_EQ(map.set(0, 0b1100), 0U);
  EXPECT_EQ(map.set(0, 0b0110), 0b1100U);
  EXPECT_EQ(map.claim(0, 0b0111), 0b0110U);
  EXPECT_EQ(map.claim(0, 0b0111), 0U);
  EXPECT_TRUE(map.test(3));
  EXPECT_FALSE(map.test(2));
}

TEST(AtomicBitmap, NextWordSkipsWordsThatWereClaimedEmpty) {
  AtomicBitmap map(64 * 200);
  map.set(3, 1);
  map.set(130, 1);
  EXPECT_EQ(map.next_word(0), 3U);
  EXPECT_EQ(map.next_word(4), 130U);
  map.claim(3, 1);
  EXPECT_EQ(map.next_word(0), 130U);
  EXPECT_EQ(map.next_word(131), map.word_count());
}

TEST(AtomicBitmap, FindsBitsFarApart) {
  constexpr std::uint64_t kWords = 64 * 64 * 64 + 7;
  AtomicBitmap map(kWords * 64);
  const std::vector<std::uint64_t> words = {0, 63, 64, 4095, 4096, 200'000, kWords - 1};
  for (const auto word : words) {
    map.set(word, 1);
  }
  std::vector<std::uint64_t> walked;
  for (auto word = map.next_word(0); word < map.word_count(); word = map.next_word(word + 1)) {
    walked.push_back(word);
  }
  EXPECT_EQ(walked, words);
  std::vector<std::uint64_t> found;
  map.harvest([&](std::uint64_t word, std::uint64_t) { found.push_back(word); });
  EXPECT_EQ(found, words);
  EXPECT_EQ(map.next_word(0), map.word_count());
  map.harvest([](std::uint64_t, std::uint64_t) { ADD_FAILURE() << "a bit was left"; });
}

TEST(AtomicBitmap, BehavesAsASetInASeededLoop) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    const auto words = 1 + random.below(150);
    AtomicBitmap map(words * 64);
    std::set<std::uint64_t> model;
    for (int step = 0; step < 500; ++step) {
      const auto word = random.below(words);
      const auto mask = random.next() & random.next() & random.next();
      const auto action = random.below(10);
      if (action == 0) {
        std::set<std::uint64_t> found;
        map.harvest([&](std::uint64_t at, std::uint64_t bits) {
          for_each_run(at, bits, [&](std::uint64_t first, std::uint64_t count) {
            for (auto page = first; page < first + count; ++page) {
              found.insert(page);
            }
          });
        });
        ASSERT_EQ(found, model);
        model.clear();
        continue;
      }
      std::uint64_t claimed = 0;
      for (unsigned bit = 0; bit < 64; ++bit) {
        if (((mask >> bit) & 1) != 0) {
          if (action < 6) {
            model.insert(word * 64 + bit);
          } else if (model.erase(word * 64 + bit) != 0) {
            claimed |= 1ULL << bit;
          }
        }
      }
      if (action < 6) {
        map.set(word, mask);
      } else {
        ASSERT_EQ(map.claim(word, mask), claimed);
      }
      const auto from = random.below(words);
      const auto next = model.lower_bound(from * 64);
      ASSERT_EQ(map.next_word(from), next == model.end() ? words : *next / 64);
    }
  }
}

TEST(ForEachRun, FindsRunsAtBothEndsOfAWord) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
  const auto keep = [&](std::uint64_t first, std::uint64_t count) {
    runs.emplace_back(first, count);
  };
  for_each_run(2, ~0ULL, keep);
  for_each_run(0, (1ULL << 63) | 0b110, keep);
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> expected = {
      {128, 64}, {1, 2}, {63, 1}};
  EXPECT_EQ(runs, expected);
  EXPECT_EQ(bit_mask(0, 64), ~0ULL);
  EXPECT_EQ(bit_mask(62, 2), 3ULL << 62);
}

}  // namespace
}  // namespace godwit::engine
