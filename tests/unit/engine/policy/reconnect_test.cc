#include "policy/reconnect.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kS = 1'000 * kMs;

TEST(ReconnectWindow, DialsAtOnceAndEndsAfterItsLimit) {
  ReconnectWindow window(10 * kS);
  window.lost(5 * kS);
  EXPECT_EQ(window.next_ns(), 5 * kS);
  EXPECT_FALSE(window.over(15 * kS - 1));
  EXPECT_TRUE(window.over(15 * kS));
}

TEST(ReconnectWindow, WithoutALimitItIsOverAtOnce) {
  ReconnectWindow window(0);
  window.lost(kS);
  EXPECT_TRUE(window.over(kS));
}

/// Attempt and wait together, the longest of those that fail between two moments after the loss.
std::int64_t longest_blind_ns(std::int64_t from, std::int64_t to, std::int64_t round_trip) {
  ReconnectWindow window(1'000 * kS);
  window.lost(0);
  std::int64_t now = 0;
  std::int64_t longest = 0;
  std::int64_t usual = 0;
  while (now < to) {
    const auto began = now;
    now = window.next_ns() + window.attempt_ns(round_trip);
    window.failed(now);
    if (began >= from) {
      longest = std::max(longest, now - began);
      usual = usual == 0 ? now - began : std::min(usual, now - began);
    }
  }
  EXPECT_LE(usual, 50 * kMs + 3 * round_trip) << "most attempts meet the link that soon";
  return longest;
}

TEST(ReconnectWindow, AttemptsStayCloseForAsLongAsAFailoverTakes) {
  EXPECT_LE(longest_blind_ns(0, 60 * kS, 0), 1'100 * kMs);
  EXPECT_LE(longest_blind_ns(0, 60 * kS, 40 * kMs), 1'100 * kMs);
}

TEST(ReconnectWindow, AttemptsBecomeRarerAfterThat) {
  ReconnectWindow window(1'000 * kS);
  window.lost(0);
  window.failed(80 * kS);
  EXPECT_EQ(window.next_ns() - 80 * kS, 20 * kMs);
  window.failed(300 * kS);
  EXPECT_EQ(window.next_ns() - 300 * kS, kS);
}

TEST(ReconnectWindow, ALossWithoutAGainSinceTheLastIsTheSameLoss) {
  ReconnectWindow window(10 * kS);
  window.lost(0);
  window.missing(100);
  window.lost(2 * kS);
  EXPECT_EQ(window.ends_ns(), 12 * kS) << "the link was back, and nothing is known of it yet";
  window.missing(100);
  window.lost(4 * kS);
  EXPECT_EQ(window.ends_ns(), 12 * kS);
  EXPECT_GT(window.next_ns(), 4 * kS) << "and is not dialled at once";
  window.missing(99);
  window.lost(6 * kS);
  EXPECT_EQ(window.ends_ns(), 16 * kS);
}

TEST(ReconnectWindow, AnOperatorOpensItAgain) {
  ReconnectWindow window(10 * kS);
  window.lost(0);
  EXPECT_TRUE(window.over(20 * kS));
  window.reopen(20 * kS);
  EXPECT_FALSE(window.over(20 * kS));
}

}  // namespace
}  // namespace godwit::engine
