#include "godwit/wire/format.h"

#include <set>

#include <gtest/gtest.h>

namespace godwit::wire {
namespace {

TEST(Format, EveryTypeHasItsOwnNameAndBounds) {
  std::set<std::string_view> names;
  for (std::uint16_t number = 1; number < kMessageTypeEnd; ++number) {
    const auto type = static_cast<MessageType>(number);
    names.insert(message_type_name(type));
    EXPECT_LE(body_limits(type).min, body_limits(type).max);
    EXPECT_LE(body_limits(type).max, kMaxStateBody);
  }
  EXPECT_EQ(names.size(), kMessageTypeEnd - 1U);
  EXPECT_EQ(names.count("?"), 0U);
}

TEST(Format, NumbersThatAreNoTypeHaveNoBody) {
  for (const unsigned number : {0U, static_cast<unsigned>(kMessageTypeEnd), 0xffffU}) {
    const auto type = static_cast<MessageType>(number);
    EXPECT_EQ(message_type_name(type), "?");
    EXPECT_EQ(body_limits(type).max, 0U);
  }
}

TEST(Format, PagesBodyHoldsAFullBatch) {
  EXPECT_EQ(page_prefix_bytes(1), 64U);
  EXPECT_EQ(page_prefix_bytes(3), 64U);
  EXPECT_EQ(page_prefix_bytes(4), 128U);
  EXPECT_EQ(kMaxPagePrefix, 1088U);
  EXPECT_EQ(kMaxPagesBody, 1088U + 64 * 4096);
}

}  // namespace
}  // namespace godwit::wire
