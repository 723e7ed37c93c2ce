#include "godwit/base/fd.h"

#include <fcntl.h>

#include <gtest/gtest.h>

namespace godwit {
namespace {

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(Fd, ClosesWhatItOwnsOnceAndOnlyIt) {
  int number = -1;
  {
    Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd.valid());
    number = fd.get();
    Fd moved = std::move(fd);
    EXPECT_TRUE(is_open(number));
    EXPECT_EQ(moved.get(), number);
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, AssignmentClosesTheOldOne) {
  Fd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  Fd second(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int old = first.get();
  const int kept = second.get();
  first = std::move(second);
  EXPECT_FALSE(is_open(old));
  EXPECT_EQ(first.get(), kept);
  const int released = first.release();
  EXPECT_FALSE(first.valid());
  EXPECT_TRUE(is_open(released));
  Fd closes_it(released);
}

TEST(EventFd, CollectsSignalsUntilTheyAreCleared) {
  auto event = EventFd::create();
  ASSERT_TRUE(event);
  EXPECT_FALSE(event->clear());
  event->signal();
  event->signal();
  EXPECT_TRUE(event->clear());
  EXPECT_FALSE(event->clear());
}

}  // namespace
}  // namespace godwit
