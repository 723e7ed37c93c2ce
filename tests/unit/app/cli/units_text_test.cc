#include "cli/units_text.h"

#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace godwit::app {
namespace {

TEST(UnitsText, ReadsSizes) {
  EXPECT_EQ(parse_size("0").value(), 0U);
  EXPECT_EQ(parse_size("4096").value(), 4096U);
  EXPECT_EQ(parse_size("3KiB").value(), 3U << 10);
  EXPECT_EQ(parse_size("16777215TiB").value(), 16'777'215ULL << 40);
  EXPECT_EQ(parse_number("18446744073709551615").value(),
            std::numeric_limits<std::uint64_t>::max());
}

TEST(UnitsText, SaysWhatIsWrongWithASize) {
  const std::string expected =
      "' is not a size (an integer with KiB, MiB, GiB, TiB, or plain bytes)";
  for (const auto* text : {"", "x", "1GB", "1.5GiB", "-1", "+1", " 1", "1 ", "GiB", "0x10"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(size.error().message(), "'" + std::string(text) + expected);
  }
  for (const auto* text : {"16777216TiB", "18446744073709551616"}) {
    EXPECT_EQ(parse_size(text).error().message(), "'" + std::string(text) + "' is too large");
  }
  EXPECT_EQ(parse_size("010").error().message(),
            "'010' begins with a zero, which some read as octal; leave it out");
}

TEST(UnitsText, ReadsDurationsThatHaveAUnit) {
  EXPECT_EQ(parse_duration("7us").value(), 7'000);
  EXPECT_EQ(parse_duration("300ms").value(), 300'000'000);
  EXPECT_EQ(parse_duration("0s").value(), 0);
  EXPECT_FALSE(parse_duration("7"));
  EXPECT_FALSE(parse_duration("7ns"));
  EXPECT_EQ(parse_duration("99999999999s").error().message(), "'99999999999s' is too large");
}

TEST(UnitsText, ADurationIsWrittenInTheLargestUnitThatSaysItExactly) {
  struct Case {
    std::int64_t ns;
    const char* text;
  };
  for (const auto& [ns, text] : {Case{0, "0us"},
                                 Case{1'000, "1us"},
                                 Case{1'001'000, "1001us"},
                                 Case{2'000'000, "2ms"},
                                 Case{1'500'000'000, "1500ms"},
                                 Case{3'000'000'000, "3s"},
                                 Case{3'000'001'000, "3000001us"}}) {
    EXPECT_EQ(duration_option(ns), text);
    EXPECT_EQ(parse_duration(duration_option(ns)).value(), ns);
  }
}

TEST(UnitsText, ForPeopleItRounds) {
  EXPECT_EQ(size_text(1023), "1023 B");
  EXPECT_EQ(size_text(1536), "1.5 KiB");
  EXPECT_EQ(size_text(64ULL << 20), "64.0 MiB");
  EXPECT_EQ(size_text(3ULL << 30), "3.00 GiB");
  EXPECT_EQ(duration_text(1'500), "1.5 us");
  EXPECT_EQ(duration_text(2'340'000), "2.34 ms");
  EXPECT_EQ(duration_text(1'500'000'000), "1.50 s");
}

}  // namespace
}  // namespace godwit::app
