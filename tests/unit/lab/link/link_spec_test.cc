#include "link/link_spec.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

std::string refusal(const char* text) {
  const auto spec = parse_link(parse_json(text), "file");
  return spec ? "accepted" : spec.error().message();
}

TEST(Bandwidth, IsReadWithItsUnit) {
  EXPECT_EQ(*parse_bandwidth("1Gbit"), 1'000'000'000U);
  EXPECT_EQ(*parse_bandwidth("2.5Gbit"), 2'500'000'000U);
  EXPECT_EQ(*parse_bandwidth("100Mbit"), 100'000'000U);
  EXPECT_EQ(*parse_bandwidth("64Kbit"), 64'000U);
  EXPECT_EQ(*parse_bandwidth("9600bit"), 9600U);
  for (const auto* text :
       {"", "1", "1GiB", "Gbit", "-1Gbit", "1Gbits", "nanGbit", "500Gbit", "1bit"}) {
    EXPECT_FALSE(parse_bandwidth(text)) << text;
  }
}

TEST(LinkSpec, OnlyABandwidthIsTheKernelsConcern) {
  const auto plain = parse_link(parse_json(R"({"bandwidth": "1Gbit"})"), "file");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->emulated);
  EXPECT_GT(plain->buffer_bytes, 0U);
  EXPECT_FALSE(parse_link(Json::object(), "file")->emulated);
  for (const auto* text : {R"({"delay_us": 0})", R"({"loss": 0.01})", R"({"cut_after_ms": 5})"}) {
    EXPECT_TRUE(parse_link(parse_json(text), "file")->emulated) << text;
  }
}

TEST(LinkSpec, ReadsAndWritesEveryMember) {
  const auto spec = parse_link(parse_json(R"({"bandwidth": "10Mbit", "delay_us": 300,
      "jitter_us": 20, "loss": 0.25, "buffer_bytes": 65536,
      "stall": {"after_ms": 100, "for_ms": 50}, "cut_after_ms": 900})"),
                               "file");
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(link_json(*spec), parse_json(R"({"bandwidth_bits_per_s": 10000000, "delay_us": 300,
      "jitter_us": 20, "loss": 0.25, "buffer_bytes": 65536, "emulated": true,
      "stall": {"after_ms": 100, "for_ms": 50}, "cut_after_ms": 900})"));
  EXPECT_EQ(spec->stall->after_ns, 100'000'000);
  EXPECT_EQ(*spec->cut_after_ns, 900'000'000);
}

TEST(LinkSpec, ALongFastLinkHasALargerBuffer) {
  const auto link = [](const char* text) { return *parse_link(parse_json(text), "file"); };
  EXPECT_EQ(link(R"({"bandwidth": "1Gbit", "delay_us": 100000})").buffer_bytes, 12'500'000U);
  EXPECT_EQ(link(R"({"bandwidth": "1Mbit", "delay_us": 10})").buffer_bytes, 262'144U);
}

TEST(LinkSpec, RefusesWhatMakesNoSense) {
  const auto says = [](const char* text, const char* what) {
    EXPECT_NE(refusal(text).find(what), std::string::npos) << refusal(text);
  };
  says(R"({"bandwith": "1Gbit"})", "member 'bandwith' is unknown");
  says(R"({"bandwidth": 1000000})", "'bandwidth' is a text");
  says(R"({"bandwidth": "fast"})", "'fast' is no bandwidth");
  says(R"({"delay_us": -1})", "'delay_us' is no whole number in 0..");
  says(R"({"delay_us": 0.5})", "'delay_us'");
  says(R"({"loss": 1.5})", "'loss' is a share");
  says(R"({"buffer_bytes": 100000})", "'buffer_bytes' needs a 'bandwidth'");
  says(R"({"stall": {"after_ms": 1}})", "'stall' needs");
  says(R"({"stall": {"after_ms": 1, "for_ms": 0}})", "'stall.for_ms'");
  says("[]", "'link' is no object");
}

TEST(LinkSpec, MembersAreSetFromText) {
  Json link;
  ASSERT_TRUE(set_link_member(link, "bandwidth", "1Gbit"));
  ASSERT_TRUE(set_link_member(link, "delay_us", "100"));
  ASSERT_TRUE(set_link_member(link, "loss", "0.01"));
  ASSERT_TRUE(set_link_member(link, "stall.after_ms", "5"));
  EXPECT_EQ(link, parse_json(R"({"bandwidth": "1Gbit", "delay_us": 100, "loss": 0.01,
                                  "stall": {"after_ms": 5}})"));
  EXPECT_FALSE(set_link_member(link, "delay.us", "5"));
}

}  // namespace
}  // namespace godwit::lab
