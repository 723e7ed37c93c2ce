#include "policy/pacer.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

/// Bytes that a sender gets through in a second which comes for each frame `late_ns` late.
std::uint64_t sent_in_a_second(std::uint64_t limit, std::uint32_t frame, std::int64_t late_ns) {
  Pacer pacer(limit);
  std::uint64_t sent = 0;
  for (std::int64_t now = kSecond; now < 2 * kSecond;) {
    if (!pacer.may_send(now)) {
      now = pacer.next_ns() + late_ns;
      continue;
    }
    pacer.spent(frame, now);
    sent += frame;
  }
  return sent;
}

TEST(Pacer, HoldsToItsRate) {
  const auto sent = sent_in_a_second(64 * kMiB, 256 * 1024, 0);
  EXPECT_NEAR(static_cast<double>(sent), 64.0 * kMiB, 2.0 * kMiB);
}

TEST(Pacer, ASenderThatIsLateCatchesUp) {
  // A frame takes 4 ms at this rate; 3 ms is what a busy processor keeps a thread waiting.
  const auto sent = sent_in_a_second(64 * kMiB, 256 * 1024, 3'000'000);
  EXPECT_GT(static_cast<double>(sent), 0.95 * 64 * kMiB);
  EXPECT_LT(static_cast<double>(sent), 1.05 * 64 * kMiB);
}

TEST(Pacer, ALongPauseIsNoCredit) {
  Pacer pacer(kMiB);
  pacer.spent(1024, kSecond);
  std::uint64_t burst = 0;
  for (const auto now = 100 * kSecond; pacer.may_send(now); burst += 1024) {
    pacer.spent(1024, now);
  }
  EXPECT_LE(burst, kMiB * Pacer::kCatchUpNs / kSecond + 2048);
}

TEST(Pacer, AFrameHasWhatIsSentInAShortTime) {
  EXPECT_EQ(Pacer(0).frame_pages(64), 64U);
  EXPECT_EQ(Pacer(kGiB).frame_pages(64), 64U);
  EXPECT_EQ(Pacer(kMiB).frame_pages(64), 12U);
  for (const std::uint64_t tiny : {1UL, 4096UL, 16384UL}) {
    EXPECT_EQ(Pacer(tiny).frame_pages(64), 1U) << tiny;
  }
}

TEST(Pacer, UnlimitedNeverWaits) {
  Pacer pacer(0);
  pacer.spent(kGiB, kSecond);
  EXPECT_TRUE(pacer.may_send(kSecond));
}

}  // namespace
}  // namespace godwit::engine
