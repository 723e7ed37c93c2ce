#include "source/planted.h"

#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

class PlantedLossTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kPages = 128;

  PlantedLossTest() {
    MemoryRegion region;
    region.page_count = kPages;
    region.guest = bytes_.data();
    memory_.regions.push_back(region);
  }
  void write(std::uint64_t page) {
    ++*reinterpret_cast<unsigned char*>(bytes_.data() + page * kPageBytes);
    ledger_.sink().mark(0, page / 64, 1ULL << (page % 64));
  }
  void sync(bool guest_stopped) { loss_.absorb_dirty(quiet_, guest_stopped); }
  void send_all() {
    for (std::uint64_t word = 0; word < kPages / 64; ++word) {
      ledger_.claim(0, word, ~0ULL);
    }
  }
  [[nodiscard]] bool pending(std::uint64_t page) const { return ledger_.pending()[0].test(page); }

  const DirtyLedger::Announce quiet_ = [](PageRun) {};
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kPages * kPageBytes);
  GuestMemory memory_;
  DirtyLedger ledger_{{kPages}};
  const std::vector<PageRun> candidates_{{0, 8, 8}, {0, 70, 1}};
  PlantedLoss loss_{memory_, ledger_, candidates_};
};

TEST_F(PlantedLossTest, IsPlantedOnlyWhereThereAreCandidates) {
  const std::vector<PageRun> none;
  EXPECT_TRUE(loss_.planted());
  EXPECT_FALSE(PlantedLoss(memory_, ledger_, none).planted());
}

TEST_F(PlantedLossTest, OtherPagesKeepTheirMarks) {
  write(7);
  write(8);
  write(71);
  sync(false);
  EXPECT_TRUE(pending(7));
  EXPECT_FALSE(pending(8));
  EXPECT_TRUE(pending(71));
}

TEST_F(PlantedLossTest, TheFirstPageThatChangedSinceStaysStaleAndTheOthersAreMadeGood) {
  write(9);
  write(10);
  write(70);
  sync(false);
  write(10);
  write(70);
  sync(true);
  EXPECT_EQ(loss_.page(), (PageId{0, 10}));
  EXPECT_FALSE(pending(10));
  EXPECT_TRUE(pending(9)) << "it has not changed since its mark was lost";
  EXPECT_TRUE(pending(70));
  write(10);
  sync(true);
  EXPECT_FALSE(pending(10)) << "its marks stay lost";
}

TEST_F(PlantedLossTest, NothingIsLostThatGoesAnyway) {
  ledger_.add_pending({0, 8, 1}, quiet_);
  write(8);
  sync(false);
  write(8);
  sync(true);
  EXPECT_EQ(loss_.page(), std::nullopt);
  EXPECT_TRUE(pending(8));
  send_all();
  write(9);
  sync(true);
  EXPECT_TRUE(pending(9)) << "a mark that is first seen when the guest has stopped is kept";
}

}  // namespace
}  // namespace godwit::engine
