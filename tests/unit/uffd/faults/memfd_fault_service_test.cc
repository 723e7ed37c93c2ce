#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "faults/fault_services.h"
#include "placing/placers.h"
#include "placing/populate.h"
#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

class FaultServiceTest : public testing::Test {
 protected:
  void SetUp() override { GODWIT_NEEDS_UFFD(placing()); }

  void make(const std::vector<std::uint64_t>& region_pages) {
    memory_ = std::make_unique<TestMemory>(region_pages);
    placer_ = make_pwrite_placer(memory_->get());
    auto service = make_memfd_fault_service(memory_->get(), Mode::kUserFaultsEnough);
    ASSERT_TRUE(service) << service.error().message();
    service_ = std::move(*service);
    const auto armed = service_->arm();
    ASSERT_TRUE(armed) << armed.error().message();
  }

  /// The next fault; the test fails when none comes.
  engine::PageFault next_fault() {
    EXPECT_TRUE(wait_readable(service_->fd()));
    std::array<engine::PageFault, 1> faults;
    const auto count = service_->read(faults);
    EXPECT_TRUE(count && *count == 1);
    return faults[0];
  }

  void place(PageId page, std::uint64_t seed) {
    ASSERT_TRUE(placer_->place({page.region, page.index, 1}, page_pattern(seed).data()));
  }

  const engine::GuestMemory& memory() { return memory_->get(); }

  std::unique_ptr<TestMemory> memory_;
  std::unique_ptr<engine::PagePlacer> placer_;
  std::unique_ptr<engine::FaultService> service_;
};

TEST_F(FaultServiceTest, MissingPageIsPlacedAndMappedWhileTheToucherWaits) {
  make({8, 8});
  Toucher toucher(memory(), {1, 3});
  const auto fault = next_fault();
  EXPECT_EQ(fault.page, (PageId{1, 3}));
  EXPECT_FALSE(fault.minor);
  place({1, 3}, 7);
  const auto mapped = service_->map({1, 3, 1});
  ASSERT_TRUE(mapped) << mapped.error().message();
  EXPECT_EQ(mapped->mapped, 1U);
  EXPECT_EQ(toucher.join(), first_word(page_pattern(7)));
}

TEST_F(FaultServiceTest, PresentPageFaultsMinor) {
  make({8});
  place({0, 5}, 9);
  Toucher toucher(memory(), {0, 5});
  const auto fault = next_fault();
  EXPECT_EQ(fault.page, (PageId{0, 5}));
  EXPECT_TRUE(fault.minor);
  ASSERT_TRUE(service_->map({0, 5, 1}));
  EXPECT_EQ(toucher.join(), first_word(page_pattern(9)));
}

TEST_F(FaultServiceTest, PreallocatedPageFaultsMinorWithZeros) {
  make({8});
  ASSERT_TRUE(prealloc(memory()));
  Toucher toucher(memory(), {0, 2});
  EXPECT_TRUE(next_fault().minor);
  ASSERT_TRUE(service_->map({0, 0, 8}));
  EXPECT_EQ(toucher.join(), 0U);
}

TEST_F(FaultServiceTest, HoleBecomesZeroPage) {
  make({8});
  Toucher toucher(memory(), {0, 1});
  EXPECT_FALSE(next_fault().minor);
  const auto mapped = service_->map({0, 1, 1});
  ASSERT_TRUE(mapped) << mapped.error().message();
  EXPECT_EQ(mapped->mapped, 1U);
  EXPECT_EQ(toucher.join(), 0U);
}

TEST_F(FaultServiceTest, RunOfDataHolesAndMappedPagesEndsMapped) {
  make({32});
  for (const std::uint64_t index : {0U, 1U, 7U, 8U, 20U}) {
    place({0, index}, index + 1);
  }
  ASSERT_TRUE(service_->map({0, 7, 1}));
  ASSERT_TRUE(service_->map({0, 12, 1}));  // a hole
  const auto mapped = service_->map({0, 0, 32});
  ASSERT_TRUE(mapped) << mapped.error().message();
  EXPECT_EQ(mapped->mapped, 30U);
  EXPECT_EQ(mapped->already, 2U);
  for (std::uint64_t index = 0; index < 32; ++index) {
    const bool placed = index == 0 || index == 1 || index == 7 || index == 8 || index == 20;
    EXPECT_EQ(load_word(memory(), {0, index}), placed ? first_word(page_pattern(index + 1)) : 0U)
        << index;
  }
  std::array<engine::PageFault, 4> faults;
  EXPECT_EQ(service_->read(faults).value(), 0U);
}

TEST_F(FaultServiceTest, SeveralWaitersOfOnePageAllGoOn) {
  make({8});
  {
    Toucher one(memory(), {0, 6});
    Toucher two(memory(), {0, 6});
    Toucher three(memory(), {0, 6});
    EXPECT_EQ(next_fault().page, (PageId{0, 6}));
    place({0, 6}, 11);
    ASSERT_TRUE(service_->map({0, 6, 1}));
    for (auto* toucher : {&one, &two, &three}) {
      EXPECT_EQ(toucher->join(), first_word(page_pattern(11)));
    }
  }
}

TEST_F(FaultServiceTest, DisarmLetsEverybodyGoOn) {
  make({8, 8});
  place({1, 0}, 13);
  Toucher missing(memory(), {0, 4});
  Toucher minor(memory(), {1, 0});
  EXPECT_TRUE(wait_readable(service_->fd()));
  ASSERT_TRUE(service_->disarm());
  EXPECT_EQ(missing.join(), 0U);
  EXPECT_EQ(minor.join(), first_word(page_pattern(13)));
  const auto refused = service_->map({0, 0, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kState);
}

TEST_F(FaultServiceTest, ArmsAgainAfterDisarm) {
  make({8});
  ASSERT_TRUE(service_->disarm());
  ASSERT_TRUE(service_->arm());
  Toucher toucher(memory(), {0, 4});
  EXPECT_EQ(next_fault().page, (PageId{0, 4}));
  ASSERT_TRUE(service_->map({0, 4, 1}));
  toucher.join();
}

TEST_F(FaultServiceTest, ArmTakesBackWhatItRegisteredWhenALaterRegionFails) {
  memory_ = std::make_unique<TestMemory>(std::vector<std::uint64_t>{4, 4});
  auto holder = Uffd::open(placing(), Mode::kUserFaultsEnough).value();
  ASSERT_TRUE(holder.register_range(
      memory().regions[1].guest, 4 * kPageBytes, Registration::kMissingAndMinor));
  const auto service = make_memfd_fault_service(memory(), Mode::kUserFaultsEnough).value();
  EXPECT_FALSE(service->arm());
  EXPECT_EQ(load_word(memory(), {0, 0}), 0U);  // does not wait
}

TEST_F(FaultServiceTest, RefusesPagesOutsideTheMemory) {
  make({8});
  EXPECT_FALSE(service_->map({0, 8, 1}));
  EXPECT_FALSE(service_->map({1, 0, 1}));
  EXPECT_TRUE(service_->map({0, 8, 0}));
}

// Guest threads touch every page in an order of their own while two threads map overlapping runs
// and a third answers faults. Every page must be mapped exactly once, and every toucher must see
// its content.
TEST_F(FaultServiceTest, OverlappingRunsOfSeveralThreadsMapEveryPageOnce) {
  constexpr std::uint64_t kPages = 2048;
  constexpr int kTouchers = 3;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    make({kPages});
    std::vector<std::uint64_t> expected(kPages);
    for (std::uint64_t i = 0; i < kPages; ++i) {
      if (i % 5 != 0) {  // the others stay holes
        place({0, i}, seed * kPages + i);
        expected[i] = first_word(page_pattern(seed * kPages + i));
      }
    }
    std::atomic<std::uint64_t> mapped{0};
    std::atomic<int> failures{0};
    std::atomic<bool> over{false};
    const auto map = [&](PageRun run) {
      const auto result = service_->map(run);
      if (!result) {
        failures.fetch_add(1, std::memory_order_relaxed);
        return;
      }
      mapped.fetch_add(result->mapped, std::memory_order_relaxed);
    };
    {
      std::jthread server([&] {
        std::array<engine::PageFault, 16> faults;
        while (!over.load(std::memory_order_relaxed)) {
          if (!wait_readable(service_->fd(), 1)) {
            continue;
          }
          const auto count = service_->read(faults).value();
          for (std::size_t i = 0; i < count; ++i) {
            map({0, faults[i].page.index, 1});
          }
        }
      });
      {
        std::vector<std::jthread> others;
        for (int t = 0; t < kTouchers; ++t) {
          others.emplace_back([&, t] {
            const auto stride = static_cast<std::uint64_t>(2 * t + 7);  // odd: reaches every page
            for (std::uint64_t i = 0; i < kPages; ++i) {
              const auto page = i * stride % kPages;
              if (load_word(memory(), {0, page}) != expected[page]) {
                failures.fetch_add(1, std::memory_order_relaxed);
              }
            }
          });
        }
        for (std::uint64_t shift : {0U, 13U}) {
          others.emplace_back([&, shift] {
            for (std::uint64_t first = 0; first < kPages; first += 37) {
              const auto start = first > shift ? first - shift : 0;
              map({0, start, std::min<std::uint64_t>(60, kPages - start)});
            }
          });
        }
      }
      over.store(true, std::memory_order_relaxed);
    }
    EXPECT_EQ(mapped.load(), kPages);
    EXPECT_EQ(failures.load(), 0);
    ASSERT_TRUE(service_->disarm());
  }
}

}  // namespace
}  // namespace godwit::uffd
