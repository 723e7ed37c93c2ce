#include "page/chart.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

Chart chart() {
  return {"one",
          "title",
          "alt",
          "caption",
          {"total time", Unit::kNs, Scale::kLog},
          {"share", Unit::kShare, Scale::kNines},
          {{"a", 0, Mark::kDots, {{1e6, 0.5}, {1e8, 0.99}}}}};
}

std::vector<std::string> texts(const Axis& axis, double low, double high) {
  std::vector<std::string> found;
  for (const auto& [value, text] : tics_of(axis, low, high)) {
    EXPECT_GE(value, low * 0.99);
    EXPECT_LE(value, high * 1.01);
    found.push_back(text);
  }
  return found;
}

using Texts = std::vector<std::string>;

TEST(Tics, AreRoundAndHaveUnits) {
  const Axis log{"t", Unit::kNs, Scale::kLog};
  EXPECT_EQ(texts(log, 8e4, 2e7), (Texts{"100 us", "1 ms", "10 ms"}));
  EXPECT_EQ(texts(log, 0.9e6, 12e6), (Texts{"1 ms", "3 ms", "10 ms"}));
  EXPECT_EQ(texts(log, 2.1e6, 2.4e6),
            (Texts{"2.1 ms", "2.15 ms", "2.2 ms", "2.25 ms", "2.3 ms", "2.35 ms", "2.4 ms"}));
  const Axis rate{"r", Unit::kBytesPerS};
  EXPECT_EQ(texts(rate, 0, 3.2 * 1024 * 1024 * 1024).back(), "3 GiB/s");
  EXPECT_EQ(texts({"n", Unit::kCount}, 0.7, 3.3), (Texts{"1", "2", "3"})) << "no half rounds";
  EXPECT_EQ(texts({"t", Unit::kNs}, -2e8, 1.1e9)[0], "0");
  EXPECT_EQ(texts({"s", Unit::kShare, Scale::kNines}, 0, 0.9995),
            (Texts{"0 %", "50 %", "90 %", "99 %", "99.9 %"}));
}

TEST(Tics, AreFewWhateverTheRange) {
  for (const auto scale : {Scale::kLinear, Scale::kLog}) {
    for (const auto unit : {Unit::kNs, Unit::kBytes, Unit::kBytesPerS, Unit::kShare}) {
      for (double low = 1e-3; low < 1e12; low *= 7.3) {
        for (double ratio = 1.01; ratio < 1e6; ratio *= 1.7) {
          const auto count = tics_of({"x", unit, scale}, low, low * ratio).size();
          EXPECT_GE(count, 2U) << low << " " << ratio;
          EXPECT_LE(count, 9U) << low << " " << ratio;
        }
      }
    }
  }
}

TEST(Range, HoldsEveryValue) {
  const Axis log{"t", Unit::kNs, Scale::kLog};
  const auto [low, high] = range_of(log, {1e6, 5e8});
  EXPECT_LT(low, 1e6);
  EXPECT_GT(low, 0);
  EXPECT_GT(high, 5e8);
  const auto [same_low, same_high] = range_of(log, {7, 7});
  EXPECT_LT(same_low, same_high);
  const auto [flat_low, flat_high] = range_of({"n"}, {0, 0});
  EXPECT_LT(flat_low, flat_high);
}

TEST(Script, HoldsTheValuesAndNoTextOfTheOutside) {
  auto one = chart();
  one.series[0].name = "'; system('touch /tmp/x'); print '";
  one.title = "`id`";
  one.y.label = "a'b`c\"d";
  const auto script = script_of(one);
  EXPECT_NE(script.find("1000000 0.301029995664\n100000000 2\n"), std::string::npos) << script;
  EXPECT_EQ(script.find("system"), std::string::npos);
  EXPECT_EQ(script.find("`"), std::string::npos);
  EXPECT_NE(script.find("'a?b?c?d'"), std::string::npos);
}

TEST(Script, LeavesOutWhatALogScaleCannotShow) {
  auto one = chart();
  one.series[0].dots.push_back({0, 0.7});
  const auto script = script_of(one);
  EXPECT_EQ(script.find("\n0 "), std::string::npos) << script;
}

TEST(Svg, TakesThePagesColoursAndIdsOfItsOwn) {
  const auto svg = svg_for_page(
      "<?xml version=\"1.0\"?><svg viewBox=\"0 0 1 1\"><title>Gnuplot</title><desc>x</desc>"
      "<path id='gpPt5' stroke='rgb(  1,   2, 250)'/><use xlink:href='#gpPt5' color='rgb(1,2,3)'/>"
      "<g id=\"plot\" fill='rgb( 9, 9, 9)' filter='url(#f)'/></svg>",
      "s1");
  EXPECT_EQ(svg,
            "<svg viewBox=\"0 0 1 1\">"
            "<path id='s1-gpPt5' stroke='var(--ink)'/><use xlink:href='#s1-gpPt5' "
            "color='var(--c3)'/><g id=\"s1-plot\" fill='rgb( 9, 9, 9)' "
            "filter='url(#s1-f)'/></svg>");
}

TEST(Svg, ABrokenColourIsLeftAlone) {
  EXPECT_EQ(svg_for_page("<svg a='rgb(1,2'", "x"), "<svg a='rgb(1,2'");
}

}  // namespace
}  // namespace godwit::lab
