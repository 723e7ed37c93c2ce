#include "placing/placers.h"

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/populated_scan.h"
#include "godwit/uffd/target_parts.h"

#include "placing/populate.h"
#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

struct Way {
  const char* name;
  std::unique_ptr<engine::PagePlacer> (*make)(const engine::GuestMemory&);
};

std::unique_ptr<engine::PagePlacer> make_measured_placer(const engine::GuestMemory& memory) {
  return std::move(make_target_parts(memory, {.postcopy = false}).value().placer);
}

class Placer : public testing::TestWithParam<Way> {};

bool reads(const engine::GuestMemory& memory, PageRun run, const std::vector<std::byte>& bytes) {
  return std::memcmp(memory.page({run.region, run.first}), bytes.data(), run.bytes()) == 0;
}

TEST_P(Placer, PlacedBytesAppearInTheGuestAndNowhereElse) {
  const TestMemory memory({16, 8});
  const auto placer = GetParam().make(memory.get());
  const auto bytes = page_pattern(1, 3);
  ASSERT_TRUE(placer->place({1, 2, 3}, bytes.data()));
  EXPECT_EQ(populated_pages(memory.get()), 3U);
  EXPECT_TRUE(reads(memory.get(), {1, 2, 3}, bytes));
  ASSERT_TRUE(placer->place({0, 15, 1}, bytes.data()));
  EXPECT_TRUE(reads(memory.get(), {0, 15, 1}, bytes));
  EXPECT_EQ(load_word(memory.get(), {0, 14}), 0U);
}

TEST_P(Placer, OverwritesWhatWasThereAndWhatIsMapped) {
  const TestMemory memory({4});
  const auto placer = GetParam().make(memory.get());
  const auto older = page_pattern(1, 4);
  ASSERT_TRUE(placer->place({0, 0, 4}, older.data()));
  EXPECT_TRUE(reads(memory.get(), {0, 0, 4}, older));  // mapped now
  const auto newer = page_pattern(2, 2);
  ASSERT_TRUE(placer->place({0, 1, 2}, newer.data()));
  EXPECT_TRUE(reads(memory.get(), {0, 1, 2}, newer));
}

TEST_P(Placer, ZeroIsReadWhetherThePageWasMappedPresentOrAHole) {
  const TestMemory memory({64, 4});
  const auto placer = GetParam().make(memory.get());
  const auto bytes = page_pattern(3, 40);
  ASSERT_TRUE(placer->place({0, 0, 20}, bytes.data()));
  ASSERT_TRUE(placer->place({0, 30, 10}, bytes.data()));
  EXPECT_NE(load_word(memory.get(), {0, 3}), 0U);  // mapped now
  ASSERT_TRUE(placer->place_zero({0, 0, 39}));
  EXPECT_TRUE(reads(memory.get(), {0, 0, 39}, std::vector<std::byte>(39 * kPageBytes)));
  EXPECT_NE(load_word(memory.get(), {0, 39}), 0U);  // behind the run
}

TEST_P(Placer, ZeroLeavesAHoleAHole) {
  const TestMemory memory({8});
  const auto placer = GetParam().make(memory.get());
  ASSERT_TRUE(placer->place({0, 4, 1}, page_pattern(4).data()));
  ASSERT_TRUE(placer->place_zero({0, 0, 8}));
  EXPECT_EQ(populated_pages(memory.get()), 1U);
}

TEST_P(Placer, RefusesPagesOutsideTheMemory) {
  const TestMemory memory({8});
  const auto placer = GetParam().make(memory.get());
  const auto bytes = page_pattern(5, 2);
  EXPECT_FALSE(placer->place({0, 7, 2}, bytes.data()));
  EXPECT_FALSE(placer->place({1, 0, 1}, bytes.data()));
  EXPECT_FALSE(placer->place_zero({0, UINT64_MAX, 2}));
  EXPECT_EQ(populated_pages(memory.get()), 0U);
}

INSTANTIATE_TEST_SUITE_P(Choices,
                         Placer,
                         testing::Values(Way{"Auto", make_measured_placer},
                                         Way{"Alias", make_alias_placer},
                                         Way{"Pwrite", make_pwrite_placer}),
                         [](const auto& way) { return way.param.name; });

TEST(PlacerChoice, NameTellsWhatWasTaken) {
  const TestMemory memory({8});
  EXPECT_STREQ(make_alias_placer(memory.get())->name(), "alias");
  EXPECT_STREQ(make_pwrite_placer(memory.get())->name(), "pwrite");
}

TEST(Prealloc, PopulatesTheFileThroughTheAlias) {
  const TestMemory memory({64, 32});
  const auto took = prealloc(memory.get());
  ASSERT_TRUE(took) << took.error().message();
  EXPECT_GE(*took, 0);
  EXPECT_EQ(populated_pages(memory.get()), 96U);
}

TEST(Prealloc, PopulatesAnonymousMemoryInPlace) {
  const TestMemory memory({64}, TestBacking::kAnonymous);
  ASSERT_TRUE(prealloc(memory.get()));
  std::uint64_t pages = 0;
  EXPECT_TRUE(make_anonymous_scan(memory.get())->scan([&](PageRun run) { pages += run.count; }));
  EXPECT_EQ(pages, 64U);
}

TEST(Prealloc, ReservesThroughTheFileWhenThereIsNoAlias) {
  const TestMemory memory({64}, false);
  ASSERT_TRUE(prealloc(memory.get()));
  EXPECT_EQ(load_word(memory.get(), {0, 63}), 0U);
}

}  // namespace
}  // namespace godwit::uffd
