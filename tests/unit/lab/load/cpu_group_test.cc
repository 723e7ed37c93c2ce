#include "load/cpu_group.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "ground/child.h"
#include "ground/temporary_directory.h"
#include "support/require.h"

namespace godwit::lab {
namespace {

std::string group_refusal(const std::vector<CgroupPlace>& places) {
  const auto group = CpuGroup::create(50, places);
  return group ? "made" : group.error().message();
}

std::size_t entries(const std::string& directory) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) {
    ++count;
  }
  return count;
}

TEST(CpuGroup, ReadsTheCountsOfEitherVersion) {
  const auto one = parse_cpu_stat("nr_periods 7\nnr_throttled 3\nthrottled_time 1500\n");
  EXPECT_EQ(one.periods, 7U);
  EXPECT_EQ(one.throttled, 3U);
  EXPECT_EQ(one.throttled_ns, 1500);
  const auto two = parse_cpu_stat(
      "usage_usec 10\nuser_usec 5\nsystem_usec 5\nnr_periods 2\nnr_throttled 1\nthrottled_usec "
      "9\n");
  EXPECT_EQ(two.periods, 2U);
  EXPECT_EQ(two.throttled_ns, 9000);
  EXPECT_EQ(parse_cpu_stat("").periods, 0U);
}

TEST(CpuGroup, SaysWhatIsMissing) {
  EXPECT_NE(group_refusal({}).find("none is mounted here"), std::string::npos) << group_refusal({});
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  const auto place = directory->file("");
  EXPECT_NE(group_refusal({{place, true}}).find("has no controller 'cpu'"), std::string::npos);
  const auto no_quota = group_refusal({{place, false}});
  EXPECT_NE(no_quota.find("cpu.cfs_period_us"), std::string::npos) << no_quota;
  EXPECT_EQ(entries(place), 0U) << "what was made is gone";
  EXPECT_NE(group_refusal({{"/nowhere", false}}).find("/nowhere/godwit-lab-"), std::string::npos);
}

TEST(CpuGroup, AControllerThatItSwitchesOnIsSwitchedOff) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  std::ofstream(directory->file("cgroup.controllers")) << "cpuset cpu io\n";
  std::ofstream(directory->file("cgroup.subtree_control")) << "io\n";
  EXPECT_NE(group_refusal({{directory->file(""), true}}).find("cpu.max"), std::string::npos);
  std::string text;
  std::ifstream(directory->file("cgroup.subtree_control")) >> text;
  EXPECT_EQ(text, "-cpu");
}

TEST(CpuGroup, WhatADeadLabLeftIsRemoved) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  const auto dead = ::fork();
  if (dead == 0) {
    ::_exit(0);
  }
  ::waitpid(dead, nullptr, 0);
  const auto left = directory->file("godwit-lab-" + std::to_string(dead) + "-1");
  const auto used = directory->file("godwit-lab-" + std::to_string(::getpid()) + "-77");
  std::filesystem::create_directory(left);
  std::filesystem::create_directory(used);
  std::filesystem::create_directory(directory->file("somebody"));
  (void)group_refusal({{directory->file(""), false}});
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(used)) << "of a lab that lives";
  EXPECT_EQ(entries(directory->file("")), 2U);
}

TEST(CpuGroup, HoldsItsProcessesToTheQuota) {
  std::string where;
  {
    const auto group = CpuGroup::create(20, cgroup_places_here());
    if (!group) {
      GODWIT_MISSING("surroundings", group.error().message());
    }
    where = group->directory();
    ProcessSpec spec;
    spec.words = {"/bin/sh", "-c", "while :; do :; done"};
    spec.cgroup_fd = group->processes_fd();
    auto process = Process::start(spec);
    ASSERT_TRUE(process);
    EXPECT_FALSE(process->has_ended(Deadline::after_ns(1'000'000'000)));
    const auto used = process->cpu_ns();
    EXPECT_GT(used, 50'000'000);
    EXPECT_LT(used, 400'000'000) << "a fifth of a second, and a period more";
    const auto counts = group->counts();
    EXPECT_GT(counts.throttled, 3U);
    EXPECT_GT(counts.throttled_ns, 200'000'000);
  }
  EXPECT_FALSE(std::filesystem::exists(where));
}

}  // namespace
}  // namespace godwit::lab
