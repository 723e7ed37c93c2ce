#include "page/html.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(Html, EscapesWhateverCouldBeMarkup) {
  EXPECT_EQ(escape("<script>a & 'b' \"c\"</script>"),
            "&lt;script&gt;a &amp; &#39;b&#39; &quot;c&quot;&lt;/script&gt;");
  EXPECT_EQ(escape(std::string("a\0b", 3)),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(escape("\xc3\xa4\n"), "\xc3\xa4\n");
}

TEST(Html, ATableEscapesEveryPart) {
  const auto html = html_of({"<n>", {"<h>"}, {{{"<c>", "<s>"}}}});
  for (const auto* raw : {"<n>", "<h>", "<c>", "<s>"}) {
    EXPECT_EQ(html.find(raw), std::string::npos) << raw;
  }
  EXPECT_NE(html.find("&lt;c&gt;"), std::string::npos);
}

TEST(Html, AFigureHasATextAlternativeALegendAndItsValues) {
  const Chart chart{"x",
                    "<t>",
                    "says \"it\"",
                    "<cap>",
                    {"time", Unit::kNs, Scale::kLog},
                    {"share", Unit::kShare, Scale::kNines},
                    {{"<series>", 1, Mark::kDots, {{2e6, 0.99}}},
                     {"pair", 1, Mark::kPairs, {{2e6, 0.99}, {3e6, 0.9}}}}};
  const auto html = figure_of(chart, "<svg>drawn</svg>");
  EXPECT_NE(html.find("role=\"img\" aria-label=\"says &quot;it&quot;\"><svg>drawn</svg>"),
            std::string::npos)
      << html;
  EXPECT_EQ(html.find("<series>"), std::string::npos);
  EXPECT_EQ(html.find("<cap>"), std::string::npos);
  EXPECT_EQ(html.find("pair"), std::string::npos) << "a line between two marks is no value";
  EXPECT_NE(html.find("<td>2.00 ms</td><td>99 %</td>"), std::string::npos) << html;
}

TEST(Html, ManyValuesAreThinnedAndItSaysSo) {
  Chart chart{"x", "t", "a", "c", {"n"}, {"m"}, {{"s", 0, Mark::kSteps, {}}}};
  for (int i = 0; i < 5000; ++i) {
    chart.series[0].dots.push_back({1.0 * i, 1});
  }
  const auto html = figure_of(chart, "");
  EXPECT_NE(html.find("one in 13 of 5000"), std::string::npos);
}

TEST(Html, ADocumentTakesNothingFromOutside) {
  const auto html = document_of("<t>", "<p>body</p>");
  EXPECT_EQ(html.find("http://"), std::string::npos);
  EXPECT_EQ(html.find("https://"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("width=device-width"), std::string::npos);
  EXPECT_NE(html.find("<title>&lt;t&gt;</title>"), std::string::npos);
}

}  // namespace
}  // namespace godwit::lab
