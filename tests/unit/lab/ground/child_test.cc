#include "ground/child.h"

#include <signal.h>

#include <gtest/gtest.h>

#include "godwit/base/fd.h"

namespace godwit::lab {
namespace {

Result<ChildResult> shell(const std::string& line, int interrupt_fd, Deadline deadline) {
  return run_child({"/bin/sh", "-c", line}, interrupt_fd, deadline);
}

TEST(Child, GivesBothOutputsAndTheExitCode) {
  const auto ran = shell("echo out; echo err >&2; exit 7", -1, Deadline::never());
  ASSERT_TRUE(ran);
  EXPECT_EQ(ran->out, "out\n");
  EXPECT_EQ(ran->errors, "err\n");
  EXPECT_EQ(ran->exit_code, 7);
  EXPECT_FALSE(ran->interrupted);
}

TEST(Child, LargeOutputsDoNotBlockIt) {
  const auto ran =
      shell("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2", -1, Deadline::never());
  ASSERT_TRUE(ran);
  EXPECT_EQ(ran->out.size(), 1000000U);
  EXPECT_EQ(ran->errors.size(), 1000000U);
}

TEST(Child, IsAskedToEndWhenInterrupted) {
  const auto interrupt = EventFd::create();
  ASSERT_TRUE(interrupt);
  interrupt->signal();
  // The trap shows that it was asked and not killed.
  const auto ran = shell("trap 'echo asked; exit 130' INT; while :; do sleep 0.05; done",
                         interrupt->fd(),
                         Deadline::never());
  ASSERT_TRUE(ran);
  EXPECT_TRUE(ran->interrupted);
  EXPECT_EQ(ran->exit_code == 130 || ran->exit_code == 128 + SIGINT, true) << ran->exit_code;
}

TEST(Child, IsEndedWhenItsTimeIsUp) {
  const auto ran = shell("exec sleep 60", -1, Deadline::after_ns(50'000'000));
  ASSERT_TRUE(ran);
  EXPECT_TRUE(ran->timed_out);
  EXPECT_EQ(ran->exit_code, 128 + SIGINT);
}

TEST(Child, AProgramThatIsNotThereIsAnError) {
  EXPECT_FALSE(run_child({"/nowhere/program"}, -1, Deadline::never()));
}

}  // namespace
}  // namespace godwit::lab
