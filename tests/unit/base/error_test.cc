#include "godwit/base/error.h"

#include <cerrno>
#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "godwit/base/result.h"

namespace godwit {
namespace {

TEST(Error, SaysWhatHappenedAndLeavesEmptyPartsOut) {
  EXPECT_EQ(make_error(ErrorCode::kRefused, "negotiate", "no common version").message(),
            "negotiate: no common version");
  EXPECT_EQ(make_error(ErrorCode::kTimeout, "").message(), "timeout");
  EXPECT_EQ(make_error(ErrorCode::kIo, "", "gone").message(), "gone");
  EXPECT_EQ(errno_error(ENOENT, "open", "/dev/kvm").message(),
            "open: /dev/kvm: No such file or directory");
}

TEST(Error, MapsErrnoToItsKind) {
  EXPECT_EQ(errno_error(ENOMEM, "").code, ErrorCode::kNoMemory);
  EXPECT_EQ(errno_error(EACCES, "").code, ErrorCode::kPermission);
  EXPECT_EQ(errno_error(ENOSYS, "").code, ErrorCode::kUnsupported);
  EXPECT_EQ(errno_error(EPIPE, "").code, ErrorCode::kClosed);
  EXPECT_EQ(errno_error(ETIMEDOUT, "").code, ErrorCode::kTimeout);
  EXPECT_EQ(errno_error(EIO, "").code, ErrorCode::kIo);
}

TEST(Error, RemembersWhereItWasMade) {
  const auto error = make_error(ErrorCode::kState, "x");
  EXPECT_NE(std::string(error.file).find("error_test.cc"), std::string::npos);
  EXPECT_GT(error.line, 0);
}

TEST(Error, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 1; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const auto name = error_code_name(static_cast<ErrorCode>(code));
    EXPECT_NE(name, "unknown");
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(error_code_name(static_cast<ErrorCode>(999)), "unknown");
}

Result<std::unique_ptr<int>> number(bool good) {
  if (!good) {
    return fail(ErrorCode::kRefused, "number");
  }
  return std::make_unique<int>(4);
}

Result<int> twice(bool good) {
  GODWIT_TRY_ASSIGN(const auto value, number(good));
  GODWIT_TRY(number(good));
  return *value * 2;
}

TEST(Result, TryHandsOnTheErrorAndTheValue) {
  EXPECT_EQ(*twice(true), 8);
  const auto failed = twice(false);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kRefused);
}

}  // namespace
}  // namespace godwit
