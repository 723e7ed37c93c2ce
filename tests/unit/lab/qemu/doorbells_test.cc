#include "qemu/doorbells.h"

#include <vector>

#include <gtest/gtest.h>

#include "guest/pc_platform.h"
#include "guest/workload.h"

#include "unit/lab/qemu/milliseconds.h"

namespace godwit::lab {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// What the guest sends for a step.
std::uint8_t step(std::uint64_t number) {
  return static_cast<std::uint8_t>(guest::kPcStepBit | (number & guest::kPcStepMask));
}

Bytes message(std::uint8_t kind, const std::vector<std::uint64_t>& numbers) {
  Bytes bytes{kind};
  for (auto number : numbers) {
    for (std::uint32_t i = 0; i < guest::kPcDigits; ++i, number >>= 6) {
      bytes.push_back(static_cast<std::uint8_t>(guest::kPcDigitBit | (number & 0x3F)));
    }
  }
  return bytes;
}

/// Steps first .. last, one a millisecond from `at_ns` on.
void feed_steps(
    Doorbells& book, End end, std::uint64_t first, std::uint64_t last, std::int64_t at_ns) {
  for (auto number = first; number <= last; ++number, at_ns += kMs) {
    book.feed(end, Bytes{step(number)}, at_ns);
  }
}

TEST(Doorbells, FindsAPlantedGapAndStall) {
  Doorbells book;
  feed_steps(book, End::kSource, 1, 300, 10 * kMs);     // the last at 309 ms
  feed_steps(book, End::kTarget, 301, 310, 352 * kMs);  // 43 ms later; the last at 361 ms
  feed_steps(book, End::kTarget, 311, 400, 361 * kMs + 71 * kMs);
  EXPECT_EQ(book.errors(), 0U) << book.error();
  EXPECT_EQ(book.steps(), 400U);
  EXPECT_EQ(book.gap_ns(), 43 * kMs);
  EXPECT_EQ(book.largest_stall_ns(0, INT64_MAX), 71 * kMs);
  EXPECT_EQ(book.largest_stall_ns(0, 400 * kMs), 43 * kMs) << "the gap is a stall";
  EXPECT_EQ(book.largest_stall_ns(0, 309 * kMs), kMs);
}

TEST(Doorbells, AHoleInTheStepsIsAnError) {
  Doorbells book;
  feed_steps(book, End::kSource, 1, 130, 0);
  EXPECT_EQ(book.errors(), 0U);
  feed_steps(book, End::kTarget, 133, 140, 200 * kMs);
  EXPECT_EQ(book.errors(), 1U);
  EXPECT_NE(book.error().find("step 133 follows step 130"), std::string::npos) << book.error();
  EXPECT_EQ(book.steps(), 140U);
}

TEST(Doorbells, AStepThatComesTwiceIsAnError) {
  Doorbells book;
  feed_steps(book, End::kSource, 1, 10, 0);
  feed_steps(book, End::kTarget, 10, 12, 200 * kMs);
  EXPECT_EQ(book.errors(), 1U);
}

Bytes touches(std::uint64_t number) {
  Bytes bytes{guest::kPcTouches};
  for (std::uint32_t i = 0; i < guest::kPcTouchDigits; ++i, number >>= 6) {
    bytes.push_back(static_cast<std::uint8_t>(guest::kPcDigitBit | (number & 0x3F)));
  }
  return bytes;
}

TEST(Doorbells, TouchesLieWhereTheStepsLieAndNoneAreLost) {
  Doorbells book;
  feed_steps(book, End::kSource, 1, 10, 100 * kMs);
  book.feed(End::kSource, touches(1003), 110 * kMs);
  feed_steps(book, End::kSource, 11, 12, 118 * kMs);
  feed_steps(book, End::kTarget, 13, 14, 140 * kMs);  // the message comes after a stall
  book.feed(End::kTarget, touches(guest::kPcTouchesMax), 142 * kMs);
  EXPECT_EQ(book.errors(), 0U) << book.error();
  EXPECT_EQ(book.steps(), 14U) << "they are no steps";
  const auto seen = book.throughput(9, 16);
  EXPECT_EQ(seen.first, 9);
  const auto half = guest::kPcTouchesMax / 2;
  EXPECT_EQ(seen.touches, (std::vector<std::uint64_t>{0, 1003, half, 0, 0, half + 1, 0}));
}

TEST(Doorbells, ReadsAMessageThatTheMigrationCutInTwo) {
  const auto bytes = message(guest::kPcError, {guest::kErrorPage, 1234567890123ULL, 7, 5});
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Doorbells book;
    const std::span<const std::uint8_t> all(bytes);
    book.feed(End::kSource, all.first(cut), 1);
    book.feed(End::kTarget, all.subspan(cut), 2);
    EXPECT_EQ(book.errors(), 1U);
    EXPECT_EQ(book.error(), "data page 1234567890123 holds generation 5, 7 expected") << cut;
  }
}

TEST(Doorbells, KnowsWhenTheGuestHasFilledAndSwept) {
  Doorbells book;
  book.feed(End::kSource, message(guest::kPcFilled, {}), 1);
  EXPECT_TRUE(book.filled());
  EXPECT_FALSE(book.sweep().done);
  book.feed(End::kTarget, message(guest::kPcSweepDone, {UINT64_MAX, 2, 3}), 2);
  EXPECT_TRUE(book.sweep().done);
  EXPECT_EQ(book.sweep().checked, UINT64_MAX);
  EXPECT_EQ(book.sweep().mismatches, 2U);
  EXPECT_EQ(book.sweep().first_bad_page, 3U);
  EXPECT_EQ(book.errors(), 0U);
}

TEST(Doorbells, OtherBytesAreErrors) {
  for (const auto& bytes :
       {Bytes{0x20}, Bytes{guest::kPcDigitBit}, Bytes{guest::kPcError, step(1)}}) {
    Doorbells book;
    book.feed(End::kSource, bytes, 1);
    EXPECT_EQ(book.errors(), 1U);
  }
}

}  // namespace
}  // namespace godwit::lab
