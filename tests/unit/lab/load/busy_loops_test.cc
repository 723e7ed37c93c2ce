#include "load/busy_loops.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "support/process.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kLoopsNs = 60'000'000'000;

/// Whether there is such a process that has not ended.
bool is_running(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto state = text.rfind(") ");
  return state != std::string::npos && text[state + 2] != 'Z' && text[state + 2] != 'X';
}

TEST(BusyLoops, UseTheProcessorInThisSessionAtNice0) {
  const auto loops = BusyLoops::start(2, kLoopsNs);
  ASSERT_TRUE(loops);
  ASSERT_EQ(loops->pids().size(), 2U);
  EXPECT_TRUE(test::eventually([&] { return loops->cpu_ns() > 20'000'000; }))
      << "they wait for something";
  EXPECT_TRUE(loops->alive());
  for (const auto pid : loops->pids()) {
    EXPECT_EQ(::getsid(pid), ::getsid(0)) << "another autogroup has a share of its own";
    EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(pid)), 0);
    EXPECT_EQ(::sched_getscheduler(pid), SCHED_OTHER);
    const auto descriptors = "/proc/" + std::to_string(pid) + "/fd/";
    EXPECT_NE(::access((descriptors + "1").c_str(), F_OK), 0)
        << "a reader of ours waits for its end";
  }
}

TEST(BusyLoops, EndWithTheirObject) {
  std::vector<pid_t> pids;
  {
    auto loops = BusyLoops::start(2, kLoopsNs);
    ASSERT_TRUE(loops);
    const auto moved = std::move(*loops);
    pids = moved.pids();
    EXPECT_TRUE(is_running(pids[0]) && is_running(pids[1]));
  }
  EXPECT_FALSE(is_running(pids[0]) || is_running(pids[1]));
}

TEST(BusyLoops, EndByThemselvesWhenTheirTimeIsOver) {
  const auto loops = BusyLoops::start(1, 1);
  ASSERT_TRUE(loops);
  EXPECT_TRUE(loops->alive()) << "a second is the least";
  EXPECT_TRUE(test::eventually([&] { return !loops->alive(); }));
  EXPECT_FALSE(is_running(loops->pids()[0]));
}

TEST(BusyLoops, DoNotOutliveAMakerThatIsKilled) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const auto maker = ::fork();
  if (maker == 0) {
    const auto loops = BusyLoops::start(2, kLoopsNs);
    const auto size = 2 * sizeof(pid_t);
    if (!loops || ::write(ends[1], loops->pids().data(), size) != static_cast<ssize_t>(size)) {
      ::_exit(1);
    }
    ::pause();
  }
  ASSERT_GT(maker, 0);
  std::array<pid_t, 2> pids{};
  ASSERT_EQ(::read(ends[0], pids.data(), sizeof pids), static_cast<ssize_t>(sizeof pids));
  EXPECT_TRUE(is_running(pids[0]) && is_running(pids[1]));
  ::kill(maker, SIGKILL);
  ::waitpid(maker, nullptr, 0);
  EXPECT_TRUE(test::eventually([&] { return !is_running(pids[0]) && !is_running(pids[1]); }));
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace godwit::lab
