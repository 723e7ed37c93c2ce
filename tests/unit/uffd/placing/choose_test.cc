// Which parts go with which memory: the table of make_target_parts(). Huge pages are in
// huge_memory_test.cc.

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/populated_scan.h"
#include "godwit/uffd/target_parts.h"

#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

using Names = std::vector<std::string>;

struct Case {
  const char* name;
  TestBacking backing;
  bool with_alias;
  TargetNeeds needs;
  Names placers;  ///< one of these
  engine::Placing placing;
  bool populates;
};

class TargetPartsTest : public testing::TestWithParam<Case> {};

constexpr std::uint64_t kPages = 24;

TEST_P(TargetPartsTest, GoWithTheMemory) {
  const auto& wanted = GetParam();
  if (wanted.needs.postcopy) {
    GODWIT_NEEDS_UFFD(wanted.backing == TestBacking::kMemfd ? placing() : Features{});
  }
  const auto memory =
      wanted.with_alias ? TestMemory({16, 8}, wanted.backing) : TestMemory({16, 8}, false);
  const auto parts = make_target_parts(memory.get(), wanted.needs);
  ASSERT_TRUE(parts) << parts.error().message();
  const std::string placer = parts->placer->name();
  EXPECT_NE(std::find(wanted.placers.begin(), wanted.placers.end(), placer), wanted.placers.end())
      << placer;
  EXPECT_EQ(parts->placer->placing(), wanted.placing);
  EXPECT_EQ(parts->faults != nullptr, wanted.needs.postcopy);
  if (parts->faults != nullptr) {
    EXPECT_EQ(parts->faults->block_pages(), 1U);
  }
  EXPECT_EQ(populated_pages(memory.get()), wanted.populates ? kPages : 0);
  EXPECT_EQ(parts->prealloc_left_out, wanted.needs.prealloc && !wanted.populates);
  EXPECT_EQ(parts->prealloc_ns > 0, wanted.populates);
}

constexpr TargetNeeds kPrecopy{.postcopy = false, .process_guest = true};
constexpr TargetNeeds kPrecopyPrealloc{.postcopy = false, .prealloc = true, .process_guest = true};
constexpr TargetNeeds kHybrid{.process_guest = true};
constexpr TargetNeeds kHybridPrealloc{.prealloc = true, .process_guest = true};
constexpr auto kMemfd = TestBacking::kMemfd;
constexpr auto kAnonymous = TestBacking::kAnonymous;
constexpr auto kBehind = engine::Placing::kBehind;
constexpr auto kMaps = engine::Placing::kMaps;
const Names kMeasured{"alias", "pwrite"};

INSTANTIATE_TEST_SUITE_P(
    Table,
    TargetPartsTest,
    testing::Values(
        Case{"MemfdPrecopy", kMemfd, true, kPrecopy, kMeasured, kBehind, false},
        Case{"MemfdPrecopyPrealloc", kMemfd, true, kPrecopyPrealloc, {"alias"}, kBehind, true},
        Case{"MemfdHybrid", kMemfd, true, kHybrid, kMeasured, kBehind, false},
        Case{"MemfdHybridPrealloc", kMemfd, true, kHybridPrealloc, {"alias"}, kBehind, true},
        Case{"MemfdWithoutAlias", kMemfd, false, kPrecopy, {"pwrite"}, kBehind, false},
        Case{"AnonymousPrecopy", kAnonymous, true, kPrecopy, {"memcpy"}, kBehind, false},
        Case{"AnonymousPrecopyPrealloc",
             kAnonymous,
             true,
             kPrecopyPrealloc,
             {"memcpy"},
             kBehind,
             true},
        Case{"AnonymousHybrid", kAnonymous, true, kHybrid, {"uffd-copy"}, kMaps, false},
        Case{"AnonymousHybridPrealloc",
             kAnonymous,
             true,
             kHybridPrealloc,
             {"uffd-copy"},
             kMaps,
             false}),
    [](const auto& one) { return one.param.name; });

TEST(PlacerChoice, PwriteWhenThereIsNoAlias) {
  const TestMemory memory({8}, false);
  const auto parts = make_target_parts(memory.get(), {.postcopy = false, .prealloc = true});
  ASSERT_TRUE(parts);
  EXPECT_STREQ(parts->placer->name(), "pwrite");
}

}  // namespace
}  // namespace godwit::uffd
