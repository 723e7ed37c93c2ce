#include "policy/cpu_share.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr auto kWindow = CpuShare::kWindowNs;

/// What a lane decides after so many windows in which it waited for `waited` of each.
CpuRank after(CpuPriority priority, double waited, bool guest_waits, bool shrinks, int windows = 5) {
  CpuShare share(priority);
  CpuRank rank{};
  for (int i = 1; i <= windows; ++i) {
    rank = share.on_sample({.now_ns = i * kWindow,
                            .waited_ns = static_cast<std::int64_t>(waited * i * kWindow),
                            .guest_waits = guest_waits,
                            .shrinks = shrinks});
  }
  return rank;
}

TEST(CpuShare, EachChoiceHasItsRank) {
  EXPECT_EQ(after(CpuPriority::kGuest, 0.9, false, false), CpuRank::kBehind);
  EXPECT_EQ(after(CpuPriority::kGuest, 0.9, true, false), CpuRank::kBeside)
      << "after the switch the guest itself waits";
  EXPECT_EQ(after(CpuPriority::kFair, 0.9, true, false), CpuRank::kBeside);
  EXPECT_EQ(after(CpuPriority::kMigration, 0.0, false, true), CpuRank::kAhead);
}

TEST(CpuShare, AutoIsFairUntilItStarvesInVain) {
  EXPECT_EQ(after(CpuPriority::kAuto, 0.0, true, false), CpuRank::kBeside);
  EXPECT_EQ(after(CpuPriority::kAuto, 0.9, false, true), CpuRank::kBeside)
      << "slow, but the rest becomes less";
  EXPECT_EQ(after(CpuPriority::kAuto, 0.9, false, false), CpuRank::kAhead);
  EXPECT_EQ(after(CpuPriority::kAuto, 0.9, true, true), CpuRank::kAhead);
  EXPECT_EQ(after(CpuPriority::kAuto, 0.9, true, true, 1), CpuRank::kBeside)
      << "one sample is no window";
}

TEST(CpuShare, AutoGoesAheadWhenAFairShareLeadsNowhere) {
  constexpr int kLong = static_cast<int>(CpuShare::kPatienceNs / kWindow) + 2;
  EXPECT_EQ(after(CpuPriority::kAuto, 0.6, false, true, kLong), CpuRank::kAhead);
  EXPECT_EQ(after(CpuPriority::kAuto, 0.6, false, true, kLong / 2), CpuRank::kBeside);
  EXPECT_EQ(after(CpuPriority::kAuto, 0.49, false, true, 10 * kLong), CpuRank::kBeside)
      << "half of the processors for the migration, half for the others: that is fair";
}

TEST(CpuShare, AutoStaysAhead) {
  CpuShare share(CpuPriority::kAuto);
  share.on_sample({.now_ns = kWindow, .guest_waits = true});
  share.on_sample({.now_ns = 2 * kWindow, .waited_ns = kWindow, .guest_waits = true});
  EXPECT_EQ(share.on_sample({.now_ns = 3 * kWindow, .waited_ns = kWindow, .guest_waits = true}),
            CpuRank::kAhead);
  EXPECT_TRUE(share.raised());
}

TEST(CpuShare, LooksOnceInAWindow) {
  CpuShare share(CpuPriority::kAuto);
  EXPECT_TRUE(share.due(kWindow));
  share.on_sample({.now_ns = kWindow});
  EXPECT_FALSE(share.due(kWindow + 1));
  EXPECT_TRUE(share.due(2 * kWindow));
}

}  // namespace
}  // namespace godwit::engine
