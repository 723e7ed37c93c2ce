#include "godwit/net/socket.h"

#include <gtest/gtest.h>

#include "godwit/base/units.h"

namespace godwit::net {
namespace {

TEST(ParseAddress, ReadsNamesAndNumbers) {
  EXPECT_EQ(*parse_address("127.0.0.1:80"), (Address{"127.0.0.1", 80}));
  EXPECT_EQ(*parse_address("host.example:65535"), (Address{"host.example", 65535}));
  EXPECT_EQ(*parse_address("[::1]:0"), (Address{"::1", 0}));
}

TEST(ParseAddress, RefusesWhatIsNoAddress) {
  for (const auto* text : {"",
                           "host",
                           ":1",
                           "host:",
                           "host:65536",
                           "host:-1",
                           "host:1x",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[::1:80",
                           "[]:80",
                           "host: 1"}) {
    const auto parsed = parse_address(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(FormatAddress, PutsBracketsAroundIpv6) {
  EXPECT_EQ(format_address({"127.0.0.1", 80}), "127.0.0.1:80");
  EXPECT_EQ(format_address({"::1", 80}), "[::1]:80");
}

TEST(BulkWindow, CoversTheBandwidthDelayProductWithinItsLimits) {
  const auto least = bulk_window_bytes(0, 0);
  EXPECT_LE(least, kMiB);
  EXPECT_GE(least, 256 * kKiB);
  EXPECT_EQ(bulk_window_bytes(50, 0), least);
  EXPECT_EQ(bulk_window_bytes(10'000, 0), 12'500'000);
  EXPECT_EQ(bulk_window_bytes(10'000, 1000 * kMiB), 1000 * kMiB / 100);
  EXPECT_EQ(bulk_window_bytes(10'000, 1), least);
  EXPECT_EQ(bulk_window_bytes(UINT32_MAX, UINT64_MAX), 32 * kMiB);
}

}  // namespace
}  // namespace godwit::net
