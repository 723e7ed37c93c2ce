#include "godwit/json/json.h"

#include <cstdint>
#include <limits>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace godwit {
namespace {

TEST(Json, KeepsTheOrderOfItsMembers) {
  const auto* text = R"({"b":1,"a":[true,null,"x"],"c":{}})";
  EXPECT_EQ(json_text(parse_json(text)), text);
}

TEST(Json, IsDiscardedWhenTheTextIsNone) {
  for (const auto* text : {"", "{", "{\"a\":}", "[1,]", "1 2", "// c\n1"}) {
    EXPECT_TRUE(parse_json(text).is_discarded()) << text;
  }
  EXPECT_TRUE(parse_json("// c\n1", JsonComments::kAllowed) == 1);
}

TEST(Json, ReadsAllThatIsLeftInAStream) {
  std::istringstream stream("{\"a\":\n 7}\n");
  EXPECT_EQ(number_of(parse_json(stream), "a"), 7);
}

TEST(Json, DepthIsBounded) {
  for (std::size_t depth = 1; depth <= 6; ++depth) {
    const auto text = std::string(depth, '[') + std::string(depth, ']');
    EXPECT_EQ(parse_json_bounded(text, 3).too_deep, depth > 4) << depth;
  }
}

TEST(Json, BytesThatAreNoUtf8AreReplaced) {
  EXPECT_EQ(json_text(Json("a\xff")), "\"a\xef\xbf\xbd\"");
}

TEST(Json, PlainTextHasNoQuotes) {
  EXPECT_EQ(plain_text(Json("a b")), "a b");
  EXPECT_EQ(plain_text(Json(12)), "12");
  EXPECT_EQ(plain_text(Json(false)), "false");
}

TEST(Json, AMemberOfAnotherTypeReadsAsTheFallback) {
  const auto json = parse_json(R"({"n":3,"t":"x","f":true,"o":{"i":1}})");
  EXPECT_EQ(text_of(json, "t", "y"), "x");
  EXPECT_TRUE(flag_of(json, "f"));
  EXPECT_EQ(number_of(object_of(json, "o"), "i"), 1);
  for (const auto* name : {"n", "absent"}) {
    EXPECT_EQ(text_of(json, name, "y"), "y");
    EXPECT_TRUE(flag_of(json, name, true));
    EXPECT_TRUE(object_of(json, name).empty());
  }
  EXPECT_EQ(number_of(json, "t", 5), 5);
  EXPECT_EQ(number_of(Json("no object"), "n", 5), 5);
}

TEST(Json, ANumberThatDoesNotFitReadsAsTheFallback) {
  const auto json = parse_json(
      R"({"big":18446744073709551615,"minus":-1,"byte":255,"half":2.5,"huge":1e30,"least":-2147483648})");
  EXPECT_EQ(number_of<std::uint64_t>(json, "big"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(number_of<std::int64_t>(json, "big", 9), 9);
  EXPECT_EQ(number_of<std::uint32_t>(json, "minus", 9), 9U);
  EXPECT_EQ(number_of<std::uint8_t>(json, "byte"), 255);
  EXPECT_EQ(number_of<std::int8_t>(json, "byte", 9), 9);
  EXPECT_EQ(number_of<std::int32_t>(json, "half"), 2);
  EXPECT_EQ(number_of<std::int32_t>(json, "huge", 9), 9);
  EXPECT_EQ(number_of<std::int32_t>(json, "least"), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(number_of<double>(json, "half"), 2.5);
  EXPECT_EQ(number_of<double>(json, "minus"), -1.0);
}

TEST(Json, PointersReachInside) {
  const auto json = parse_json(R"({"a":{"b":[4,"x"]}})");
  EXPECT_EQ(number_at(json, "/a/b/0"), 4);
  EXPECT_EQ(text_at(json, "/a/b/1"), "x");
  EXPECT_EQ(number_at(json, "/a/b/1", -1), -1);
  EXPECT_EQ(number_at(json, "/a/c", -1), -1);
  EXPECT_EQ(text_at(json, "/a"), "");
}

}  // namespace
}  // namespace godwit
