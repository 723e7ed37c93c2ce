#include "godwit/net/socket.h"

#include <gtest/gtest.h>

#include "godwit/base/units.h"

namespace godwit::net {
namespace {

TEST(ParseAddress, ReadsNamesAndNumbers) {
  EXPECT_EQ(*parse_address("127.0.0.1:80"), (Address{.host = "127.0.0.1", .port = 80}));
  EXPECT_EQ(*parse_address("host.example:65535"), (Address{.host = "host.example", .port = 65535}));
  EXPECT_EQ(*parse_address("[::1]:0"), (Address{.host = "::1"}));
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
  EXPECT_EQ(format_address({.host = "127.0.0.1", .port = 80}), "127.0.0.1:80");
  EXPECT_EQ(format_address({.host = "::1", .port = 80}), "[::1]:80");
}

TEST(Endpoint, IsReadAsItIsWritten) {
  for (const auto* text : {"tcp:127.0.0.1:80",
                           "tcp:[::1]:0",
                           "tcp:host.example:1",
                           "unix:/a/b",
                           "unix:relative",
                           "unix:with:colons"}) {
    const auto address = parse_endpoint(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(format_endpoint(*address), text);
    EXPECT_EQ(address->is_unix(), text[0] == 'u');
  }
}

TEST(Endpoint, RefusesWhatIsNone) {
  // The longest path leaves room for the end of the string. Source: unix(7)
  EXPECT_TRUE(parse_endpoint("unix:" + std::string(107, 'x')));
  for (const auto& text : {std::string("127.0.0.1:80"),
                           std::string("udp:127.0.0.1:80"),
                           std::string("tcp:"),
                           std::string("tcp:host"),
                           std::string("unix:"),
                           std::string("UNIX:/a"),
                           "unix:" + std::string(108, 'x')}) {
    const auto parsed = parse_endpoint(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
  }
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
