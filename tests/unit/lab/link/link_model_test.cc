#include "link/link_model.h"

#include <vector>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

using Fate = Passage::Fate;

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kUs = 1000;

TEST(LinkModel, APlainLinkGivesEachPacketAtOnce) {
  LinkModel model({}, 1);
  for (const std::int64_t now : {0L, 5L, 5L, 100L}) {
    const auto passage = model.offer(now, 1500);
    EXPECT_EQ(passage.fate, Fate::kDelivered);
    EXPECT_EQ(passage.at_ns, now);
  }
}

TEST(LinkModel, TheDelayIsHalfOfTheRoundTripEachWay) {
  LinkModel model({.delay_us = 100}, 1);
  EXPECT_EQ(model.offer(7, 1500).at_ns, 7 + 50 * kUs);
}

TEST(LinkModel, TheRateIsThatOfTheBottleneck) {
  // 1 Mbit/s: 125 bytes take 1 ms.
  LinkModel model({.bandwidth_bits_per_s = 1'000'000, .delay_us = 2000, .buffer_bytes = 1 << 20},
                  1);
  EXPECT_EQ(model.offer(0, 125).at_ns, 2 * kMs);
  EXPECT_EQ(model.offer(0, 125).at_ns, 3 * kMs) << "waits for the one before";
  EXPECT_EQ(model.offer(10 * kMs, 250).at_ns, 13 * kMs) << "an idle time is not caught up";
  std::int64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    last = model.offer(20 * kMs, 125).at_ns;
  }
  EXPECT_EQ(last, (20 + 1000 + 1) * kMs);
}

TEST(LinkModel, AFullBufferDropsTheTail) {
  LinkModel model({.bandwidth_bits_per_s = 1'000'000, .buffer_bytes = 500}, 1);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(model.offer(0, 125).fate, Fate::kDelivered);
  }
  EXPECT_EQ(model.queued_bytes(), 500U);
  EXPECT_EQ(model.offer(0, 125).fate, Fate::kQueueFull);
  EXPECT_EQ(model.offer(kMs - 1, 1).fate, Fate::kQueueFull) << "the first is not through yet";
  EXPECT_EQ(model.offer(kMs, 125).fate, Fate::kDelivered);
  EXPECT_EQ(model.offer(kMs, 1).fate, Fate::kQueueFull);
  EXPECT_EQ(model.offer(100 * kMs, 4000).fate, Fate::kDelivered) << "an empty one takes anything";
}

TEST(LinkModel, LosesItsShareBySeed) {
  const auto lost = [](std::uint64_t seed) {
    LinkModel model({.loss = 0.1}, seed);
    std::vector<int> which;
    for (int i = 0; i < 20'000; ++i) {
      if (model.offer(i, 100).fate == Fate::kLost) {
        which.push_back(i);
      }
    }
    return which;
  };
  const auto first = lost(1);
  EXPECT_GT(first.size(), 1800U);
  EXPECT_LT(first.size(), 2200U);
  EXPECT_EQ(first, lost(1));
  EXPECT_NE(first, lost(2));
  LinkModel none({.loss = 0}, 3);
  LinkModel all({.loss = 1}, 3);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(none.offer(i, 100).fate, Fate::kDelivered);
    EXPECT_EQ(all.offer(i, 100).fate, Fate::kLost);
  }
}

TEST(LinkModel, JitterKeepsTheOrder) {
  LinkModel model({.delay_us = 100, .jitter_us = 40}, 1);
  std::int64_t last = 0;
  std::int64_t least = INT64_MAX;
  std::int64_t most = 0;
  for (std::int64_t now = 0; now < 10'000 * 10 * kUs; now += 10 * kUs) {
    const auto at = model.offer(now, 100).at_ns;
    EXPECT_GE(at, last);
    last = at;
    least = std::min(least, at - now);
    most = std::max(most, at - now);
  }
  EXPECT_GE(least, 50 * kUs);
  EXPECT_LT(least, 60 * kUs);
  EXPECT_GT(most, 85 * kUs);
  EXPECT_LE(most, 90 * kUs);
}

TEST(LinkModel, AStallHoldsWhatIsBeingSent) {
  LinkSpec spec{.bandwidth_bits_per_s = 1'000'000, .buffer_bytes = 1 << 20};
  spec.stall = Stall{10 * kMs, 5 * kMs};
  LinkModel model(spec, 1);
  EXPECT_EQ(model.offer(8 * kMs, 125).at_ns, 9 * kMs) << "before it";
  EXPECT_EQ(model.offer(9 * kMs + kMs / 2, 125).at_ns, 15 * kMs + kMs / 2) << "half through";
  EXPECT_EQ(model.offer(12 * kMs, 125).at_ns, 16 * kMs + kMs / 2) << "behind that";
  EXPECT_EQ(model.offer(20 * kMs, 125).at_ns, 21 * kMs) << "after it";
  spec.bandwidth_bits_per_s = 0;
  LinkModel fast(spec, 1);
  EXPECT_EQ(fast.offer(12 * kMs, 125).at_ns, 15 * kMs);
  EXPECT_EQ(fast.offer(15 * kMs, 125).at_ns, 15 * kMs);
}

TEST(LinkModel, NothingArrivesAfterACut) {
  LinkSpec spec{.delay_us = 2000};
  spec.cut_after_ns = 10 * kMs;
  LinkModel model(spec, 1);
  EXPECT_EQ(model.offer(9 * kMs - 1, 100).fate, Fate::kDelivered);
  EXPECT_EQ(model.offer(9 * kMs, 100).fate, Fate::kCut) << "still on its way at the cut";
  EXPECT_EQ(model.offer(11 * kMs, 100).fate, Fate::kCut);
  EXPECT_EQ(model.offer(11'000 * kMs, 100).fate, Fate::kCut) << "for good";
}

}  // namespace
}  // namespace godwit::lab
