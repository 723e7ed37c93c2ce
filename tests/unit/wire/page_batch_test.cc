#include "godwit/wire/page_batch.h"

#include <cstring>
#include <functional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "godwit/base/random.h"

namespace godwit::wire {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

Bytes make_body(RegionIndex region, PagePhase phase, std::span<const PageBatchRun> runs) {
  Bytes body(kMaxPagePrefix, std::byte{0xff});
  body.resize(encode_page_prefix(body, region, phase, runs));
  for (const auto& run : runs) {
    for (std::uint32_t i = 0; run.kind == PageKind::kData && i < run.count; ++i) {
      body.resize(body.size() + kPageBytes, static_cast<std::byte>(run.first + i));
    }
  }
  return body;
}

/// Changes a body of a data run of two pages and a zero run, and expects the reason.
void expect_refused(const std::function<void(PageBatchHeader&, PageBatchRunWire*)>& change,
                    const char* reason) {
  const PageBatchRun runs[] = {{10, 2, PageKind::kData}, {20, 1, PageKind::kZero}};
  auto body = make_body(0, PagePhase::kPrecopy, runs);
  PageBatchHeader header;
  PageBatchRunWire wire[2];
  std::memcpy(&header, body.data(), sizeof(header));
  std::memcpy(wire, body.data() + sizeof(header), sizeof(wire));
  change(header, wire);
  std::memcpy(body.data(), &header, sizeof(header));
  std::memcpy(body.data() + sizeof(header), wire, sizeof(wire));
  const auto view = decode_page_batch(body);
  ASSERT_FALSE(view.has_value()) << reason;
  EXPECT_EQ(view.error().code, ErrorCode::kProtocol);
  EXPECT_THAT(view.error().message(), HasSubstr(reason));
}

TEST(PageBatch, RoundTripsRandomBatches) {
  constexpr std::uint64_t kSeed = 42;
  SplitMix64 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    std::vector<PageBatchRun> runs;
    std::uint32_t data_pages = 0;
    std::uint64_t next = random.below(kMaxPageIndex / 2);
    for (std::uint64_t left = 1 + random.below(kMaxBatchRuns); left > 0; --left) {
      PageBatchRun run{next + random.below(3), 1, PageKind::kZero};
      if (data_pages < kMaxBatchPages && random.below(2) == 0) {
        run.kind = PageKind::kData;
        run.count = 1 + static_cast<std::uint32_t>(random.below(kMaxBatchPages - data_pages));
        data_pages += run.count;
      } else {
        run.count = 1 + static_cast<std::uint32_t>(random.below(1U << 31));
      }
      next = run.first + run.count;
      runs.push_back(run);
    }
    for (std::size_t i = runs.size(); i > 1; --i) {
      std::swap(runs[i - 1], runs[random.below(i)]);
    }
    const auto body = make_body(7, PagePhase::kBackground, runs);
    ASSERT_EQ(body.size(), page_prefix_bytes(runs.size()) + data_pages * kPageBytes);
    const auto view = decode_page_batch(body);
    ASSERT_TRUE(view.has_value()) << "seed " << kSeed << " round " << round << ": "
                                  << view.error().message();
    EXPECT_EQ(view->region(), 7U);
    EXPECT_EQ(view->phase(), PagePhase::kBackground);
    EXPECT_EQ(view->data_pages(), data_pages);
    ASSERT_THAT(view->runs(), testing::ElementsAreArray(runs));
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].kind == PageKind::kZero) {
        EXPECT_EQ(view->data(i), nullptr);
        continue;
      }
      for (std::uint32_t page = 0; page < runs[i].count; ++page) {
        ASSERT_EQ(view->data(i)[page * kPageBytes], static_cast<std::byte>(runs[i].first + page));
      }
    }
  }
}

TEST(PageBatch, CountsPagesOfAllRuns) {
  const PageBatchRun runs[] = {{0, 64, PageKind::kData}, {64, 1000000, PageKind::kZero}};
  const auto body = make_body(0, PagePhase::kPrecopy, runs);
  EXPECT_EQ(body.size(), 64 + 64 * kPageBytes);
  EXPECT_EQ(decode_page_batch(body)->page_count(), 1000064U);
}

TEST(PageBatch, NamesTheReasonOfARefusal) {
  using Header = PageBatchHeader;
  using Run = PageBatchRunWire;
  expect_refused([](Header& h, Run*) { h.reserved[1] = 1; }, "reserved");
  expect_refused([](Header& h, Run*) { h.phase = PagePhase{}; }, "unknown phase 0");
  expect_refused([](Header& h, Run*) { h.phase = static_cast<PagePhase>(4); }, "unknown phase 4");
  expect_refused([](Header& h, Run*) { h.run_count = 0; }, "0 runs");
  expect_refused([](Header& h, Run*) { h.run_count = 65; }, "65 runs");
  expect_refused([](Header& h, Run*) { h.run_count = 4; }, "counts say");
  expect_refused([](Header& h, Run*) { h.data_pages = 65; }, "65 data pages");
  expect_refused([](Header& h, Run*) { h.data_pages = 3; }, "counts say");
  expect_refused([](Header&, Run* r) { r[0].count = 1; }, "1 data pages in its runs, 2 announced");
  expect_refused([](Header&, Run* r) { r[0].count = 3; }, "more data pages");
  expect_refused([](Header&, Run* r) { r[0].count = 0; }, "run 0: empty");
  expect_refused([](Header&, Run* r) { r[1].kind = PageKind::kData; }, "run 1: more data pages");
  expect_refused([](Header&, Run* r) { r[1].kind = static_cast<PageKind>(3); }, "unknown kind 3");
  expect_refused([](Header&, Run* r) { r[1].kind = PageKind{}; }, "unknown kind 0");
  expect_refused([](Header&, Run* r) { r[1].reserved[2] = 9; }, "run 1: reserved");
  expect_refused([](Header&, Run* r) { r[1].first = kMaxPageIndex; }, "beyond any region");
  expect_refused([](Header&, Run* r) { r[1].first = ~0ULL; }, "beyond any region");
  expect_refused([](Header&, Run* r) { r[1].first = 11; }, "occurs twice");
  expect_refused([](Header&, Run* r) { r[1].first = 9, r[1].count = 2; }, "occurs twice");
  expect_refused([](Header& h, Run*) { h.run_count = 1; }, "padding");
}

TEST(PageBatch, RefusesEveryTruncation) {
  const PageBatchRun runs[] = {{10, 1, PageKind::kData}};
  const auto body = make_body(0, PagePhase::kPrecopy, runs);
  for (std::size_t size = 0; size < body.size(); ++size) {
    // A copy of the exact size, so that a sanitizer sees any read past the end.
    const Bytes part(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_FALSE(decode_page_batch(part).has_value()) << size;
  }
}

TEST(PageBatchDeathTest, RefusesToEncodeTooManyDataPages) {
  Bytes out(kMaxPagePrefix);
  const PageBatchRun runs[] = {{0, 60, PageKind::kData}, {100, 5, PageKind::kData}};
  EXPECT_DEATH((void)encode_page_prefix(out, 0, PagePhase::kPrecopy, runs), "kMaxBatchPages");
}

}  // namespace
}  // namespace godwit::wire
