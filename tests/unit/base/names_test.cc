#include "godwit/base/names.h"

#include <array>
#include <cstdint>

#include <gtest/gtest.h>

namespace godwit {
namespace {

enum class Fruit : std::uint8_t { kApple = 1, kPear = 2, kQuince = 3 };

constexpr Names kFruits{std::array{Named{Fruit::kApple, "apple"}, Named{Fruit::kPear, "pear"}}};
static_assert(kFruits.parse("pear") == Fruit::kPear);

TEST(Names, GiveTheNameOfAValueAndTheValueOfAName) {
  for (const auto& [value, name] : kFruits.entries()) {
    EXPECT_STREQ(kFruits.name_of(value), name);
    EXPECT_EQ(kFruits.parse(name), value);
  }
}

TEST(Names, KnowNothingElse) {
  EXPECT_STREQ(kFruits.name_of(Fruit::kQuince), "unknown");
  for (const auto* text : {"", "quince", "app", "apples", "Apple", "unknown"}) {
    EXPECT_EQ(kFruits.parse(text), std::nullopt) << text;
  }
}

TEST(Names, ListTheChoicesInTheirOrder) {
  EXPECT_EQ(kFruits.choices(), "apple, pear");
}

}  // namespace
}  // namespace godwit
