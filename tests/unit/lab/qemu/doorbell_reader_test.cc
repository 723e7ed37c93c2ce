#include "qemu/doorbell_reader.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "guest/pc_platform.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kSoonNs = 10'000'000'000;

/// A serial port whose guest is the test.
struct Line {
  Fd guest;
  Fd lab;
};

Line make_line() {
  std::array<int, 2> fds{-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

/// Steps first .. last.
void ring(const Fd& guest, std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint8_t> bytes;
  for (auto number = first; number <= last; ++number) {
    bytes.push_back(static_cast<std::uint8_t>(guest::kPcStepBit | (number & guest::kPcStepMask)));
  }
  EXPECT_EQ(::write(guest.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

Status wait_for(DoorbellReader& reader, std::uint64_t steps) {
  return reader.wait([steps](const Doorbells& book) { return book.steps() >= steps; },
                     -1,
                     Deadline::after_ns(kSoonNs));
}

TEST(DoorbellReader, BooksTheStepsOfBothEndsAsOneGuests) {
  auto source = make_line();
  auto target = make_line();
  const auto reader = DoorbellReader::start(std::move(source.lab));
  ASSERT_TRUE(reader);
  ring(source.guest, 1, 100);
  ASSERT_TRUE(wait_for(**reader, 100));
  (*reader)->add_target(std::move(target.lab));
  ring(source.guest, 101, 120);
  ring(target.guest, 121, 130);
  ASSERT_TRUE(wait_for(**reader, 130));
  const auto book = (*reader)->book();
  EXPECT_EQ(book.errors(), 0U) << book.error();
  EXPECT_EQ(book.stamps(End::kSource).size(), 120U);
  EXPECT_EQ(book.stamps(End::kTarget).size(), 10U);
  EXPECT_GT(book.gap_ns(), 0);
}

TEST(DoorbellReader, AsksTheTargetForASweep) {
  auto source = make_line();
  auto target = make_line();
  const auto reader = DoorbellReader::start(std::move(source.lab));
  ASSERT_TRUE(reader);
  (*reader)->add_target(std::move(target.lab));
  ASSERT_TRUE((*reader)->ask_for_sweep());
  std::uint8_t command = 0;
  ASSERT_EQ(::read(target.guest.get(), &command, 1), 1);
  EXPECT_EQ(command, guest::kPcCommandSweep);
}

TEST(DoorbellReader, AWaitSaysWhyItEnded) {
  const auto never = [](const Doorbells& /*book*/) { return false; };
  auto source = make_line();
  const auto reader = DoorbellReader::start(std::move(source.lab));
  const auto interrupt = EventFd::create();
  ASSERT_TRUE(reader && interrupt);
  const auto late = (*reader)->wait(never, -1, Deadline::after_ns(1'000'000));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  interrupt->signal();
  const auto cancelled = (*reader)->wait(never, interrupt->fd(), Deadline::after_ns(kSoonNs));
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
  source.guest.reset();
  const auto closed = (*reader)->wait(never, -1, Deadline::after_ns(kSoonNs));
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, ErrorCode::kClosed);
}

TEST(DoorbellReader, AGuestThatReportsDamageEndsTheWait) {
  auto source = make_line();
  const auto reader = DoorbellReader::start(std::move(source.lab));
  ASSERT_TRUE(reader);
  ring(source.guest, 1, 3);
  ring(source.guest, 9, 9);
  const auto damaged = (*reader)->wait(
      [](const Doorbells& /*book*/) { return false; }, -1, Deadline::after_ns(kSoonNs));
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::kGuest);
}

}  // namespace
}  // namespace godwit::lab
