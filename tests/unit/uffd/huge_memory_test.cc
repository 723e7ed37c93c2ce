// Memory of huge pages: which were written, placing, and serving faults by whole pages.

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/populated_scan.h"
#include "godwit/uffd/scan_dirty_source.h"
#include "godwit/uffd/target_parts.h"
#include "godwit/uffd/wp_dirty_source.h"

#include "faults/fault_services.h"
#include "placing/placers.h"
#include "support/huge_pages.h"
#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kBlocks = 4;

class HugeMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (!pages_.reason().empty()) {
      GTEST_SKIP() << pages_.reason();
    }
    const auto bytes = kBlocks * kBlock * kPageBytes;
    fd_ = create_huge_memfd("godwit-test", bytes).value();
    guest_ = Mapping::shared(fd_.get(), 0, bytes).value();
    alias_ = Mapping::shared(fd_.get(), 0, bytes).value();
    engine::MemoryRegion region;
    region.page_count = kBlocks * kBlock;
    region.guest = guest_.data();
    region.alias = alias_.data();
    region.fd = fd_.get();
    region.block_pages = kBlock;
    memory_.regions.push_back(region);
  }

  std::vector<PageRun> scan() {
    std::vector<PageRun> runs;
    const auto status =
        make_populated_scan(memory_)->scan([&](PageRun run) { runs.push_back(run); });
    EXPECT_TRUE(status) << status.error().message();
    return runs;
  }

  const test::HugePages pages_{kBlocks};
  Fd fd_;
  Mapping guest_;
  Mapping alias_;
  engine::GuestMemory memory_;
};

TEST_F(HugeMemory, ScanFindsWhatCameByEitherMapping) {
  EXPECT_TRUE(scan().empty());
  *memory_.page({0, kBlock + 7}) = std::byte{1};
  EXPECT_EQ(scan(), (std::vector<PageRun>{{0, kBlock, kBlock}}));
  alias_.data()[3 * kBlock * kPageBytes] = std::byte{1};
  EXPECT_EQ(scan(), (std::vector<PageRun>{{0, kBlock, kBlock}, {0, 3 * kBlock, kBlock}}));
}

TEST_F(HugeMemory, PlacesThroughTheAliasAndLeavesTheRestZero) {
  const auto placer = make_huge_placer(memory_);
  const auto bytes = page_pattern(7, 2);
  ASSERT_TRUE(placer->place({0, kBlock - 1, 2}, bytes.data())) << "across two huge pages";
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory_.page({0, kBlock - 1})));
  EXPECT_EQ(load_word(memory_, {0, kBlock - 2}), 0U);
  ASSERT_TRUE(placer->place_zero({0, kBlock, 1}));
  EXPECT_EQ(load_word(memory_, {0, kBlock}), 0U);
  EXPECT_EQ(load_word(memory_, {0, kBlock - 1}), first_word(bytes));
  EXPECT_FALSE(placer->place({0, kBlocks * kBlock, 1}, bytes.data()));
  EXPECT_EQ(scan(), (std::vector<PageRun>{{0, 0, 2 * kBlock}}));
}

TEST_F(HugeMemory, FaultsAreServedByWholePages) {
  Features needed;
  needed.missing_hugetlb = true;
  needed.minor_hugetlb = true;
  GODWIT_NEEDS_UFFD(needed);
  const auto placer = make_huge_placer(memory_);
  auto made = make_huge_fault_service(memory_, Mode::kUserFaultsEnough);
  ASSERT_TRUE(made) << made.error().message();
  auto& service = **made;
  EXPECT_EQ(service.block_pages(), kBlock);
  ASSERT_TRUE(service.arm());
  const auto bytes = page_pattern(3);
  ASSERT_TRUE(placer->place({0, kBlock + 9, 1}, bytes.data()));

  // One whose content is there, and one that is a hole.
  for (const auto& [page, word] : {std::pair{PageId{0, kBlock + 9}, first_word(bytes)},
                                   std::pair{PageId{0, 2 * kBlock + 1}, std::uint64_t{0}}}) {
    std::uint64_t seen = 1;
    std::thread toucher([&, at = page] { seen = load_word(memory_, at); });
    std::array<engine::PageFault, 1> fault;
    EXPECT_TRUE(wait_readable(service.fd()));
    const auto count = service.read(fault);
    EXPECT_TRUE(count && *count == 1);
    EXPECT_EQ(fault[0].page.index / kBlock, page.index / kBlock);
    const auto mapped = service.map({0, page.index / kBlock * kBlock, kBlock});
    EXPECT_TRUE(mapped) << mapped.error().message();
    EXPECT_EQ(mapped ? mapped->mapped : 0, kBlock);
    if (!mapped) {
      EXPECT_TRUE(service.disarm());
    }
    toucher.join();
    EXPECT_EQ(seen, word);
  }
  const auto all = service.map({0, 0, kBlocks * kBlock});
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(all->mapped, 2 * kBlock);
  EXPECT_EQ(all->already, 2 * kBlock);
  EXPECT_EQ(service.map({0, 1, kBlock}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(service.disarm());
}

TEST_F(HugeMemory, TargetPartsGoByWholePages) {
  const auto precopy = make_target_parts(memory_, {.postcopy = false, .prealloc = true});
  ASSERT_TRUE(precopy) << precopy.error().message();
  EXPECT_STREQ(precopy->placer->name(), "alias");
  EXPECT_EQ(precopy->faults, nullptr);
  EXPECT_FALSE(precopy->prealloc_left_out);
  EXPECT_EQ(scan(), (std::vector<PageRun>{{0, 0, kBlocks * kBlock}}));

  Features needed;
  needed.missing_hugetlb = true;
  needed.minor_hugetlb = true;
  GODWIT_NEEDS_UFFD(needed);
  const auto hybrid = make_target_parts(memory_, {.process_guest = true});
  ASSERT_TRUE(hybrid) << hybrid.error().message();
  EXPECT_STREQ(hybrid->placer->name(), "alias");
  EXPECT_EQ(hybrid->placer->placing(), engine::Placing::kBehind);
  ASSERT_NE(hybrid->faults, nullptr);
  EXPECT_EQ(hybrid->faults->block_pages(), kBlock);
}

TEST_F(HugeMemory, WriteProtectionWithAHandlerIsRefusedWithTheReason) {
  const auto made = make_wp_dirty_source(memory_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(made.error().message().find("huge pages"), std::string::npos);
}

/// Collects marks.
class Marks : public engine::DirtySink {
 public:
  void mark(RegionIndex /*region*/, std::uint64_t word, std::uint64_t bits) override {
    words[word] |= bits;
  }
  [[nodiscard]] std::vector<std::uint64_t> blocks() const {
    std::vector<std::uint64_t> found;
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      const auto* first = &words[block * kBlock / 64];
      if (std::any_of(first, first + kBlock / 64, [](auto word) { return word != 0; })) {
        found.push_back(block);
        EXPECT_TRUE(std::all_of(first, first + kBlock / 64, [](auto word) { return ~word == 0; }));
      }
    }
    return found;
  }
  std::array<std::uint64_t, kBlocks * kBlock / 64> words{};
};

TEST_F(HugeMemory, AsynchronousWriteProtectionReportsWholePages) {
  GODWIT_NEEDS_UFFD(async_tracking());
  auto made = make_scan_dirty_source(memory_);
  if (!made) {
    GTEST_SKIP() << made.error().message();
  }
  *memory_.page({0, 3}) = std::byte{1};
  Marks marks;
  ASSERT_TRUE((*made)->start(marks));
  ASSERT_TRUE((*made)->sync());
  EXPECT_TRUE(marks.blocks().empty());
  *memory_.page({0, 5}) = std::byte{2};               // written before
  *memory_.page({0, 2 * kBlock + 5}) = std::byte{2};  // a hole until now
  ASSERT_TRUE((*made)->sync());
  EXPECT_EQ(marks.blocks(), (std::vector<std::uint64_t>{0, 2}));
  marks.words = {};
  ASSERT_TRUE((*made)->sync());
  EXPECT_TRUE(marks.blocks().empty()) << "reported twice";
  (*made)->stop();
}

}  // namespace
}  // namespace godwit::uffd
