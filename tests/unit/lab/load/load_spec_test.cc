#include "load/load_spec.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

std::string load_refusal(const char* text) {
  const auto spec = parse_load(parse_json(text), "file");
  return spec ? "accepted" : spec.error().message();
}

TEST(LoadSpec, ReadsLoopsAndQuota) {
  const auto spec = parse_load(parse_json(R"({"busy": 2, "cpu_quota": "150%"})"), "file");
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->busy, 2U);
  EXPECT_EQ(spec->quota_percent, 150U);
  EXPECT_EQ(load_json(*spec), parse_json(R"({"busy": 2, "cpu_quota_percent": 150})"));
  EXPECT_EQ(parse_load(Json::object(), "file")->busy, 0U);
}

TEST(LoadSpec, NamesWhatItDoesNotUnderstand) {
  for (const auto* text : {"[]",
                           R"({"busy": -1})",
                           R"({"busy": 257})",
                           R"({"busy": 1.5})",
                           R"({"busy": "2"})",
                           R"({"cpu_quota": 150})",
                           R"({"idle": 1})"}) {
    EXPECT_EQ(load_refusal(text).rfind("load", 0), 0U) << text << ": " << load_refusal(text);
  }
  EXPECT_NE(load_refusal(R"({"busy": 257})").find("from 0 to 256"), std::string::npos);
  EXPECT_NE(load_refusal(R"({"idle": 1})").find("'idle'"), std::string::npos);
  for (const auto* text :
       {"", "%", "150", "0%", "1.5%", "-5%", "100001%", "150 %", "99999999999%"}) {
    EXPECT_FALSE(parse_quota(text)) << text;
  }
  EXPECT_EQ(*parse_quota("1%"), 1U);
  EXPECT_EQ(*parse_quota("100000%"), 100'000U);
}

TEST(LoadSpec, MembersAreSetFromText) {
  Json load;
  set_load_member(load, "busy", "2");
  set_load_member(load, "cpu_quota", "50%");
  EXPECT_EQ(load, parse_json(R"({"busy": 2, "cpu_quota": "50%"})"));
}

}  // namespace
}  // namespace godwit::lab
