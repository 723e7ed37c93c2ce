#include "godwit/base/zeroed_array.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/units.h"

namespace godwit {
namespace {

std::size_t resident_pages(const ZeroedArray<std::uint64_t>& table) {
  const auto bytes = table.size() * sizeof(std::uint64_t);
  std::vector<unsigned char> pages((bytes + kPageBytes - 1) / kPageBytes);
  EXPECT_EQ(::mincore(table.data(), bytes, pages.data()), 0);
  std::size_t count = 0;
  for (const auto page : pages) {
    count += page & 1;
  }
  return count;
}

TEST(ZeroedArray, TakesMemoryOnlyWhereItIsWritten) {
  ZeroedArray<std::uint64_t> table(kMiB);
  EXPECT_EQ(resident_pages(table), 0U);
  EXPECT_EQ(std::as_const(table)[kMiB - 1], 0U);
  table[5] = 7;
  EXPECT_EQ(std::as_const(table)[5], 7U);
  // One page, or one huge page where the system gives such; and what the read above brought in.
  EXPECT_GE(resident_pages(table), 1U);
  EXPECT_LE(resident_pages(table), 2 * 512U + 1);
}

TEST(ZeroedArray, MovesAndMayBeEmpty) {
  ZeroedArray<std::uint64_t> table(3);
  table[2] = 9;
  const ZeroedArray<std::uint64_t> moved(std::move(table));
  EXPECT_EQ(moved[2], 9U);
  EXPECT_EQ(moved.size(), 3U);
  EXPECT_EQ(ZeroedArray<std::uint64_t>(0).size(), 0U);
}

}  // namespace
}  // namespace godwit
