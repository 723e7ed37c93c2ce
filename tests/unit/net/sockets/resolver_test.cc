#include "sockets/resolver.h"

#include <netdb.h>

#include <memory>
#include <semaphore>

#include <gtest/gtest.h>

#include "godwit/base/fd.h"

namespace godwit::net {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

TEST(Resolver, ReadsNumericAddressesEvenWithoutTime) {
  EXPECT_TRUE(resolve({.host = "127.0.0.1", .port = 80}, 0, Deadline{0}));
  EXPECT_TRUE(resolve({.host = "::1", .port = 80}, 0, Deadline{0}));
}

TEST(Resolver, ResolvesANameOfThisHost) {
  addrinfo* known = nullptr;
  if (::getaddrinfo("localhost", nullptr, nullptr, &known) != 0) {
    GTEST_SKIP() << "this system does not know localhost (no /etc/hosts?)";
  }
  ::freeaddrinfo(known);
  const auto list =
      resolve({.host = "localhost", .port = 80}, 0, Deadline::after_ns(30 * kSecondNs));
  EXPECT_TRUE(list) << list.error().message();
}

TEST(Resolver, DoesNotWaitForAnAnswerBeyondTheDeadline) {
  const auto answer = std::make_shared<std::binary_semaphore>(0);
  const auto list = wait_for_lookup(
      [answer] {
        answer->acquire();
        return Lookup{};
      },
      {.host = "slow.example"},
      Deadline::after_ns(20'000'000));
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::kTimeout);
  EXPECT_NE(list.error().detail.find("slow.example"), std::string::npos);
  answer->release();  // the lookup ends later, and its thread with it
}

TEST(Resolver, IsInterrupted) {
  const auto answer = std::make_shared<std::binary_semaphore>(0);
  const auto interrupted = EventFd::create();
  ASSERT_TRUE(interrupted);
  interrupted->signal();
  const auto list = wait_for_lookup(
      [answer] {
        answer->acquire();
        return Lookup{};
      },
      {.host = "slow.example"},
      Deadline::after_ns(60 * kSecondNs),
      interrupted->fd());
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::kCancelled);
  answer->release();
}

}  // namespace
}  // namespace godwit::net
