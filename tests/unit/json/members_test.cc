#include "godwit/json/members.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace godwit {
namespace {

enum class Color : std::uint8_t { kRed = 1, kBlue };
/// What is asked of a table of names.
constexpr struct {
  [[nodiscard]] const char* name_of(Color color) const {
    return color == Color::kRed ? "red" : "blue";
  }
  [[nodiscard]] std::optional<Color> parse(const std::string& text) const {
    return text == "red"    ? std::optional(Color::kRed)
           : text == "blue" ? std::optional(Color::kBlue)
                            : std::nullopt;
  }
} kColorNames;

struct Part {
  std::int64_t ns = 0;
};

struct Whole {
  bool flag = false;
  std::int64_t least = 0;
  std::uint64_t most = 0;
  std::uint32_t small = 0;
  double share = 0;
  std::string text = "as it was";
  Color color = Color::kRed;
  std::vector<std::uint64_t> numbers;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pairs;
  std::vector<std::string> texts;
  Part part;
  std::vector<Part> parts;
  std::optional<std::int64_t> maybe;
  std::optional<double> or_null;
  std::optional<Part> maybe_part;
  std::optional<Part> part_or_null;
};

template <typename Members>
void visit(Members& in, Part& part) {
  in.value("ns", part.ns);
}

template <typename Members>
void visit(Members& in, Whole& whole) {
  const auto each = [](auto& inside, Part& part) { visit(inside, part); };
  in.value("flag", whole.flag);
  in.value("least", whole.least);
  in.value("most", whole.most);
  in.value("small", whole.small);
  in.value("share", whole.share);
  in.value("text", whole.text);
  in.named("color", whole.color, kColorNames);
  in.values("numbers", whole.numbers);
  in.pairs("pairs", whole.pairs);
  in.texts("texts", whole.texts);
  in.object("part", [&](auto& inside) { visit(inside, whole.part); });
  in.list("parts", whole.parts, each);
  in.optional("maybe", whole.maybe);
  in.nullable("or_null", whole.or_null);
  in.optional("maybe_part", whole.maybe_part, each);
  in.nullable("part_or_null", whole.part_or_null, each);
}

std::string written(Whole whole) {
  MemberWriter in;
  visit(in, whole);
  return json_text(in.take());
}

Whole read(const std::string& text) {
  Whole whole;
  const auto json = parse_json(text);
  MemberReader in(json);
  visit(in, whole);
  return whole;
}

TEST(Members, AreWrittenInTheOrderOfTheirList) {
  EXPECT_EQ(written({}),
            R"({"flag":false,"least":0,"most":0,"small":0,"share":0.0,"text":"as it was",)"
            R"("color":"red","numbers":[],"pairs":[],"part":{"ns":0},"parts":[],"or_null":null,)"
            R"("part_or_null":null})");
}

TEST(Members, AreReadAsTheyWereWritten) {
  Whole whole;
  whole.flag = true;
  whole.least = std::numeric_limits<std::int64_t>::min();
  whole.most = std::numeric_limits<std::uint64_t>::max();
  whole.small = std::numeric_limits<std::uint32_t>::max();
  whole.share = 0.1;
  whole.text = "t";
  whole.color = Color::kBlue;
  whole.numbers = {1, whole.most};
  whole.pairs = {{1, 2}, {3, 4}};
  whole.texts = {"a", ""};
  whole.part.ns = -1;
  whole.parts = {{1}, {2}};
  whole.maybe = -7;
  whole.or_null = 0.5;
  whole.maybe_part = Part{3};
  whole.part_or_null = Part{4};
  const auto text = written(whole);
  EXPECT_EQ(written(read(text)), text);
  EXPECT_EQ(read(text).most, whole.most);
  EXPECT_EQ(read(text).color, Color::kBlue);
}

TEST(Members, OfAnotherTypeLeaveTheValueAsItIs) {
  const auto untouched = written({});
  for (const auto* text : {"{}", "[]", "null", "7", R"({"unknown":1})"}) {
    EXPECT_EQ(written(read(text)), untouched) << text;
  }
  const auto* wrong =
      R"({"flag":1,"least":"x","most":-1,"small":4294967296,"share":[],"text":7,"color":"green",
          "numbers":{},"pairs":[1,[1],[1,2,3]],"texts":[1],"part":[],"parts":{},"maybe":"x",
          "or_null":"x","maybe_part":[],"part_or_null":1})";
  EXPECT_EQ(written(read(wrong)), untouched);
}

TEST(Members, OfAListThatAreNoObjectsStayEmpty) {
  const auto whole = read(R"({"parts":[{"ns":1},7,{}],"numbers":[1,-1,"x"]})");
  ASSERT_EQ(whole.parts.size(), 3U);
  EXPECT_EQ(whole.parts[0].ns, 1);
  EXPECT_EQ(whole.parts[1].ns, 0);
  EXPECT_EQ(whole.numbers, (std::vector<std::uint64_t>{1, 0, 0}));
}

}  // namespace
}  // namespace godwit
