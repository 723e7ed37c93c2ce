#include "fill_run.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace godwit::uffd {
namespace {

/// A page table with the ways of the kernel: some pages are there, some are holes.
struct Table {
  std::set<std::uint64_t> mapped;
  std::set<std::uint64_t> holes;
  std::uint64_t at_once = UINT64_MAX;  ///< pages that one call does at most

  Progress fill(std::uint64_t first, std::uint64_t count) {
    Progress progress;
    for (auto page = first; page < first + count; ++page) {
      const auto done = page - first;
      if (mapped.count(page) != 0 || holes.count(page) != 0 || done == at_once) {
        // The reason is told for the first page only.
        const bool there = mapped.count(page) != 0;
        progress.sys_errno = done > 0 ? EAGAIN : (there ? EEXIST : EFAULT);
        break;
      }
      progress.bytes += kPageBytes;
    }
    for (auto page = first; page < first + (progress.bytes >> kPageShift); ++page) {
      mapped.insert(page);
    }
    return progress;
  }
};

TEST(FillRun, EveryPageIsMappedAndCountedOnce) {
  for (const std::uint64_t at_once : {1U, 3U, 100U}) {
    Table table{{2, 3, 9}, {}, at_once};
    engine::MapResult result;
    ASSERT_TRUE(fill_run({0, 1, 10}, "call", result, [&](std::uint64_t page, std::uint64_t count) {
      return table.fill(page, count);
    }));
    EXPECT_EQ(result.mapped, 7U);
    EXPECT_EQ(result.already, 3U);
    EXPECT_EQ(*table.mapped.begin(), 1U);
    EXPECT_EQ(table.mapped.size(), 10U);
  }
}

TEST(FillRun, HolesAreFilledByTheCaller) {
  Table table{{}, {3, 4, 7}};
  engine::MapResult result;
  const auto status = fill_run(
      {0, 0, 10},
      1,
      "call",
      result,
      [&](std::uint64_t page, std::uint64_t count) { return table.fill(page, count); },
      [&](std::uint64_t page, int turn) -> Result<std::uint64_t> {
        EXPECT_EQ(turn, 1);
        table.holes.erase(page);
        if (page == 3) {
          table.mapped.insert(page);  // this caller maps what it fills
          return 1;
        }
        return 0;
      });
  ASSERT_TRUE(status);
  EXPECT_EQ(result.mapped, 10U);
  EXPECT_EQ(result.already, 0U);
}

TEST(FillRun, TellsHowOftenOnePageWasAHole) {
  Table table{{}, {2}};
  engine::MapResult result;
  int last = 0;
  const auto status = fill_run(
      {0, 0, 4},
      1,
      "call",
      result,
      [&](std::uint64_t page, std::uint64_t count) { return table.fill(page, count); },
      [&](std::uint64_t /*page*/, int turn) -> Result<std::uint64_t> {
        last = turn;
        if (turn == 5) {
          return fail(ErrorCode::kIo, "call", "enough");
        }
        return 0;
      });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().detail, "enough");
  EXPECT_EQ(last, 5);
  EXPECT_EQ(result.mapped, 2U);
}

TEST(FillRun, SkipsWholeBlocks) {
  engine::MapResult result;
  const auto status = fill_run(
      {0, 512, 1024},
      512,
      "call",
      result,
      [&](std::uint64_t page, std::uint64_t /*count*/) {
        return page == 512 ? Progress{0, EEXIST} : Progress{512 * kPageBytes, 0};
      },
      [](std::uint64_t, int) -> Result<std::uint64_t> { return 0; });
  ASSERT_TRUE(status);
  EXPECT_EQ(result.already, 512U);
  EXPECT_EQ(result.mapped, 512U);
}

TEST(FillRun, OtherAnswersAreErrorsThatNameThePage) {
  const struct {
    int sys_errno;
    ErrorCode code;
    const char* says;
  } cases[] = {{ENOENT, ErrorCode::kState, "call arm() first"},
               {ENOMEM, ErrorCode::kNoMemory, "region 1 page 6"},
               {EFAULT, errno_error(EFAULT, "call").code, "region 1 page 6"}};
  for (const auto& one : cases) {
    engine::MapResult result;
    const auto status =
        fill_run({1, 4, 8}, "call", result, [&](std::uint64_t page, std::uint64_t /*count*/) {
          return page == 4 ? Progress{2 * kPageBytes, EAGAIN} : Progress{0, one.sys_errno};
        });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, one.code);
    EXPECT_NE(status.error().message().find(one.says), std::string::npos)
        << status.error().message();
    EXPECT_EQ(result.mapped, 2U);
  }
}

}  // namespace
}  // namespace godwit::uffd
