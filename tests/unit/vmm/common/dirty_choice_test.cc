#include "godwit/vmm/dirty_choice.h"

#include <array>

#include <gtest/gtest.h>

#include "godwit/vmm/guest.h"

namespace godwit::vmm {
namespace {

constexpr std::array kAll{DirtyChoice::kAuto,
                          DirtyChoice::kLog,
                          DirtyChoice::kRing,
                          DirtyChoice::kWp,
                          DirtyChoice::kWpAsync};

TEST(DirtyChoice, NamesGoBothWays) {
  for (const auto choice : kAll) {
    EXPECT_EQ(parse_dirty_choice(dirty_choice_name(choice)), choice);
  }
  EXPECT_FALSE(parse_dirty_choice("instrumented"));
  EXPECT_FALSE(parse_dirty_choice(""));
}

TEST(DirtyChoice, EachGuestHasItsOwn) {
  for (const auto choice : kAll) {
    const bool of_kvm = choice == DirtyChoice::kLog || choice == DirtyChoice::kRing;
    const bool any = choice == DirtyChoice::kAuto;
    EXPECT_EQ(check_dirty_choice(GuestKind::kKvm, choice).has_value(), any || of_kvm);
    EXPECT_EQ(check_dirty_choice(GuestKind::kProcess, choice).has_value(), any || !of_kvm);
  }
  const auto wrong = check_dirty_choice(GuestKind::kProcess, DirtyChoice::kRing);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(wrong.error().message().find("ring: a process guest has wp and wp-async"),
            std::string::npos);
  EXPECT_FALSE(check_dirty_choice(GuestKind::kKvm, static_cast<DirtyChoice>(0)));
}

TEST(DirtyChoice, GuestIsNotMadeWithASourceOfTheOtherKind) {
  GuestConfig config;
  config.kind = GuestKind::kProcess;
  config.dirty = DirtyChoice::kLog;
  const auto guest = make_guest(config, {});
  ASSERT_FALSE(guest);
  EXPECT_EQ(guest.error().code, ErrorCode::kUnsupported);
}

// What this host takes is no business of the next one.
TEST(DirtyChoice, IsNotSentToTheTarget) {
  GuestConfig config;
  config.dirty = DirtyChoice::kWp;
  const auto there = decode_config(encode_config(config));
  ASSERT_TRUE(there) << there.error().message();
  EXPECT_EQ(there->dirty, DirtyChoice::kAuto);
}

}  // namespace
}  // namespace godwit::vmm
