#include "godwit/base/mapping.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "godwit/base/units.h"

namespace godwit {
namespace {

TEST(Mapping, TwoMappingsOfOneFileShowTheSameBytes) {
  auto file = create_memfd("godwit-test", 4 * kMiB);
  ASSERT_TRUE(file);
  auto first = Mapping::shared(file->get(), 0, 4 * kMiB);
  auto second = Mapping::shared(file->get(), kPageBytes, kPageBytes);
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  first->data()[kPageBytes] = std::byte{7};
  EXPECT_EQ(second->data()[0], std::byte{7});
}

TEST(Mapping, LargeMappingsAgreeWithTheirOffsetModuloTwoMebibytes) {
  auto file = create_memfd("godwit-test", 8 * kMiB);
  ASSERT_TRUE(file);
  for (const std::uint64_t offset : {std::uint64_t{0}, 2 * kMiB, kPageBytes}) {
    auto mapping = Mapping::shared(file->get(), offset, 4 * kMiB);
    ASSERT_TRUE(mapping);
    EXPECT_EQ((reinterpret_cast<std::uintptr_t>(mapping->data()) - offset) % (2 * kMiB), 0U)
        << offset;
    mapping->data()[0] = std::byte{1};
    mapping->data()[mapping->size() - 1] = std::byte{1};
  }
}

TEST(Mapping, MovesItsOwnership) {
  auto made = Mapping::anonymous(kPageBytes);
  ASSERT_TRUE(made);
  auto* data = made->data();
  EXPECT_EQ(data[100], std::byte{0});
  Mapping moved = std::move(*made);
  EXPECT_EQ(moved.data(), data);
  moved.reset();
  EXPECT_EQ(moved.data(), nullptr);
  EXPECT_EQ(moved.size(), 0U);
}

TEST(Mapping, FailsWithAReasonWhenThereIsNoSuchFile) {
  const auto mapping = Mapping::shared(-1, 0, kPageBytes);
  ASSERT_FALSE(mapping);
  EXPECT_NE(mapping.error().sys_errno, 0);
  EXPECT_FALSE(Mapping::anonymous(SIZE_MAX / 2));
}

TEST(Memfd, StartsAsOneHole) {
  auto file = create_memfd("godwit-test", kMiB);
  ASSERT_TRUE(file);
  EXPECT_EQ(::lseek(file->get(), 0, SEEK_DATA), -1);
  struct stat status = {};
  ASSERT_EQ(::fstat(file->get(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), kMiB);
}

// A signal that ends the process would come otherwise.
TEST(Mapping, AFileOverTheLimitIsRefusedAndNamesIt) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 2 * kMiB;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  const auto fits = create_memfd("godwit-test", 2 * kMiB);
  const auto over = create_memfd("godwit-test", 2 * kMiB + 1);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(fits);
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, ErrorCode::kNoMemory);
  EXPECT_NE(over.error().message().find("RLIMIT_FSIZE"), std::string::npos);
}

}  // namespace
}  // namespace godwit
