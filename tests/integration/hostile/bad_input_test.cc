// What an operator can get wrong before any peer is involved: options, ports, and what the host
// does not give.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/guest_under_test.h"
#include "support/command/surroundings.h"
#include "support/require_kvm.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;

// ---------------------------------------------------------------------------------------- usage

struct Usage {
  const char* name;
  const char* arguments;
  const char* says;  ///< must be in the message
};
void PrintTo(const Usage& cell, std::ostream* out) {
  *out << cell.arguments;
}

class BadOption : public testing::TestWithParam<Usage> {};

TEST_P(BadOption, EndsWithTwoAndSaysWhich) {
  const auto& cell = GetParam();
  const auto plain = run(cell.arguments);
  EXPECT_EQ(plain.code, 2) << plain.all();
  EXPECT_EQ(plain.out, "") << "results only";
  EXPECT_THAT(plain.err, HasSubstr(cell.says));
  const auto json = run(std::string(cell.arguments) + " --json");
  EXPECT_EQ(json.code, 2) << json.all();
  EXPECT_EQ(json.error("code"), "invalid-argument") << json.all();
  EXPECT_EQ(json.error("phase"), "options");
  EXPECT_FALSE(json.error("side").empty());
  EXPECT_FALSE(json.error("message").empty());
}

INSTANTIATE_TEST_SUITE_P(
    Usage,
    BadOption,
    testing::Values(
        Usage{"Unknown", "demo --no-such-option", "--no-such-option"},
        Usage{"UnknownCommand", "dance", "dance"},
        Usage{"OptionOfAnotherCommand", "receive --control x --workload idle", "--workload"},
        Usage{"ControlMissing", "migrate --to tcp:127.0.0.1:1", "--control"},
        Usage{"ToMissing", "migrate --control x", "--to"},
        Usage{"UnknownWorkload", "demo --workload dance", "sequential-write"},
        Usage{"UnknownMode", "demo --mode sideways", "stop-and-copy"},
        Usage{"UnknownGuest", "run --control x --guest xen", "process"},
        Usage{"UnknownFill", "demo --fill water", "compressible"},
        Usage{"UnknownCongestion", "demo --congestion vegas", "cubic"},
        Usage{"UnknownFault", "demo --inject earthquake", "flip-bit"},
        Usage{"NoVcpus", "demo --vcpus 0", "--vcpus"},
        Usage{"ManyVcpus", "demo --vcpus 100000", "--vcpus"},
        Usage{"MemoryNoPage", "demo --memory 100000001", "--memory is 100000001 bytes"},
        Usage{"MemoryTiny", "demo --memory 4096", "--memory is 4096 bytes"},
        Usage{"Memory200TiB", "run --control x --memory 200TiB --populated 64MiB", "--memory"},
        Usage{"MemoryOverflow", "demo --memory 16777216TiB", "too large"},
        Usage{"MemoryOverflowPlain", "demo --memory 99999999999999999999", "too large"},
        Usage{"MemoryNegative", "demo --memory -1GiB", "-1GiB"},
        Usage{"MemoryFraction", "demo --memory 1.5GiB", "1.5GiB"},
        Usage{"MemoryOctal", "demo --memory 0100MiB", "begins with a zero"},
        Usage{"MemoryHex", "demo --memory 0x40MiB", "0x40MiB"},
        Usage{"MemoryUnit", "demo --memory 64MB", "64MB"},
        Usage{"MemoryEmpty", "demo --memory=", "--memory"},
        Usage{"PopulatedBeyond", "demo --memory 64MiB --populated 65MiB", "--populated"},
        Usage{"PopulatedNoPage", "demo --memory 64MiB --populated 1000001", "--populated"},
        Usage{"WorkingSetBeyond", "demo --memory 64MiB --working-set 65MiB", "--working-set"},
        Usage{"WorkingSetNone", "demo --memory 64MiB --working-set 0", "--working-set"},
        Usage{"RateNegative", "demo --rate -1", "--rate"},
        Usage{"SeedOverflow", "demo --seed 18446744073709551616", "too large"},
        Usage{"TimeoutNegative", "demo --timeout -5s", "-5s"},
        Usage{"TimeoutFraction", "demo --timeout 1.5s", "1.5s"},
        Usage{"TimeoutOctal", "demo --timeout 010ms", "begins with a zero"},
        Usage{"TimeoutOverflow", "demo --timeout 99999999999s", "too large"},
        Usage{"TimeoutUnit", "demo --timeout 5", "the unit is required"},
        Usage{"TimeoutNone", "demo --timeout 0s", "--timeout"},
        Usage{"FaultDelayWithoutFaults",
              "demo --mode precopy --inject fault-delay=1ms",
              "needs --mode"},
        Usage{"DelayOverflow", "demo --inject blackout-delay=99999999999s", "too large"},
        Usage{"StalePageOfAnIdleGuest", "demo --workload idle --inject stale-page", "--workload"},
        Usage{"StalePageWithoutRounds",
              "demo --workload random-write --mode postcopy --inject stale-page",
              "--mode"},
        Usage{"UnknownDirtySource", "demo --dirty-source guess", "wp-async"},
        Usage{"UnknownBacking", "demo --backing paper", "hugetlb"},
        Usage{"HalfAHugePage", "demo --backing hugetlb --memory 63MiB", "multiple of 2 MiB"},
        Usage{"HalfAHugePageAtRun",
              "run --control x --backing hugetlb --memory 63MiB",
              "multiple of 2 MiB"},
        Usage{"UnknownTransport", "demo --transport pigeon", "poll"},
        Usage{"RingOfAProcess", "demo --guest process --dirty-source ring", "--dirty-source"},
        Usage{"WriteProtectOfKvm", "demo --guest kvm --dirty-source wp", "--dirty-source"},
        Usage{"NoChannels", "demo --channels 0", "--channels"},
        Usage{"ManyChannels", "demo --channels 65", "--channels"},
        Usage{"PortBeyond", "migrate --control x --to tcp:127.0.0.1:65536", "65536"},
        Usage{"PortNone", "migrate --control x --to tcp:127.0.0.1:", "port"},
        Usage{"Scheme", "migrate --control x --to rdma:127.0.0.1:5", "tcp:HOST:PORT"}),
    [](const auto& cell) { return std::string(cell.param.name); });

// ---------------------------------------------------------------------------------- environment

class Environment : public testing::Test {
 protected:
  void TearDown() override { nothing_is_left(directory_); }
  TemporaryDirectory directory_;
};

TEST_F(Environment, PortInUse) {
  Receiver first(directory_, "first");
  ASSERT_TRUE(first.listens());
  const auto second = run(
      fmt::format("receive --control {} --listen {}", directory_.at("second"), first.address()));
  EXPECT_EQ(second.code, 3) << second.all();
  EXPECT_EQ(second.out, "");
  EXPECT_THAT(second.err, HasSubstr(fmt::format("127.0.0.1:{} is in use", first.port())));
  const auto demo =
      run(fmt::format("demo --json --guest process --memory 32MiB --listen {}", first.address()));
  EXPECT_EQ(demo.code, 3) << demo.all();
  EXPECT_THAT(demo.err, HasSubstr("is in use"));
  EXPECT_FALSE(demo.error("message").empty());
  EXPECT_TRUE(first.waits());
  first.stop();
}

TEST_F(Environment, AddressOfAnotherMachine) {
  const auto ran = run(
      fmt::format("receive --control {} --listen tcp:192.0.2.1:7000", directory_.at("control")));
  EXPECT_EQ(ran.code, 3) << ran.all();
  EXPECT_THAT(ran.err, HasSubstr("192.0.2.1:7000"));
}

TEST_F(Environment, ControlSocketCannotBe) {
  const auto missing = run("receive --control /nonexistent/directory/socket");
  EXPECT_EQ(missing.code, 3) << missing.all();
  EXPECT_THAT(missing.err, HasSubstr("/nonexistent/directory/socket"));
  EXPECT_EQ(missing.out, "") << "no address is named that nobody serves";
  const auto taken = run("receive --control /etc/hostname");
  EXPECT_EQ(taken.code, 2) << taken.all();
  EXPECT_THAT(taken.err, HasSubstr("is no socket"));
  Receiver first(directory_, "first");
  const auto second = run("receive --control " + first.control());
  EXPECT_EQ(second.code, 3) << second.all();
  EXPECT_THAT(second.err, HasSubstr("served by a running process"));
  first.stop();
}

TEST_F(Environment, ControlSocketOfAnotherIsNotRemoved) {
  Receiver first(directory_, "first");
  ASSERT_EQ(::unlink(first.control().c_str()), 0);
  Receiver second(directory_, "first");
  ASSERT_TRUE(second.listens()) << second.process().err();
  first.process().signal(SIGTERM);
  EXPECT_EQ(first.process().wait(), 0);
  EXPECT_TRUE(second.waits()) << "its socket went with the first";
  struct stat info {};
  EXPECT_EQ(::stat(second.control().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  second.stop();
}

TEST_F(Environment, OneOfManyThatStartAtOnceServes) {
  {
    Receiver killed(directory_, "control");
    killed.process().signal(SIGKILL);  // leaves its file, which all of them find dead
  }
  std::vector<std::unique_ptr<Process>> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(std::make_unique<Process>("receive --control " + directory_.at("control")));
  }
  int serving = 0;
  for (auto& process : all) {
    serving += process->first_line().empty() ? 0 : 1;
  }
  EXPECT_EQ(serving, 1);
  EXPECT_EQ(run("stop --control " + directory_.at("control")).code, 0);
  for (auto& process : all) {
    process->wait();
  }
}

TEST_F(Environment, NobodyBehindTheControlSocket) {
  for (const auto* command : {"status", "switch", "cancel", "stop"}) {
    const auto ran = run(fmt::format("{} --control {}", command, directory_.at("nobody")));
    EXPECT_EQ(ran.code, 3) << ran.all();
    EXPECT_THAT(ran.err, HasSubstr("nobody answers"));
  }
  const auto ran =
      run(fmt::format("migrate --json --control {} --to tcp:127.0.0.1:1", directory_.at("nobody")));
  EXPECT_EQ(ran.code, 3) << ran.all();
  EXPECT_EQ(ran.error("phase"), "control");
  EXPECT_EQ(ran.error("side"), "source");
}

TEST_F(Environment, MoreMemoryThanTheHostHas) {
  const auto ran = run("demo --json --memory 900GiB --populated 800GiB");
  EXPECT_EQ(ran.code, 3) << ran.all();
  EXPECT_EQ(ran.error("code"), "no-memory");
  EXPECT_EQ(ran.error("phase"), "start");
}

TEST_F(Environment, MoreHugePagesThanTheHostHas) {
  const std::string guest = "--guest process --memory 900GiB --populated 64MiB --backing hugetlb ";
  for (const auto* mode : {"precopy", "hybrid"}) {
    const auto demo = run(fmt::format("demo --json {} --mode {}", guest, mode));
    EXPECT_EQ(demo.code, 3) << demo.all();
    EXPECT_EQ(demo.error("phase"), "start");
    EXPECT_THAT(demo.error("message"), HasSubstr("--backing hugetlb"));
  }
  const auto source = run(fmt::format("run {} --control {}", guest, directory_.at("control")));
  EXPECT_EQ(source.code, 3) << source.all();
  EXPECT_THAT(source.err, HasSubstr("--backing hugetlb"));
}

TEST_F(Environment, AHandlerCannotProtectHugePages) {
  const auto ran = run(fmt::format(
      "run --guest process --memory 32MiB --backing hugetlb --dirty-source wp --control "
      "{}",
      directory_.at("control")));
  EXPECT_EQ(ran.code, 3) << ran.all();
  EXPECT_THAT(ran.err, HasSubstr("huge pages"));
}

TEST_F(Environment, MoreMemoryThanTheSourceMayMap) {
  const auto ran =
      run(fmt::format("run --guest process --memory 64GiB --populated 64MiB --control {}",
                      directory_.at("control")),
          [] { limit(RLIMIT_AS, 8ULL << 30); });
  EXPECT_EQ(ran.code, 3) << ran.all();
  EXPECT_THAT(ran.err, HasSubstr("memory"));
}

TEST_F(Environment, ResultThatCannotBeWrittenIsNoSuccess) {
  const auto to_full = [] {
    or_leave(::dup2(::open("/dev/full", O_WRONLY | O_CLOEXEC), STDOUT_FILENO) == STDOUT_FILENO);
  };
  Receiver idle(directory_, "idle");
  for (const auto& arguments : {std::string("demo --json --guest process --memory 32MiB"),
                                "status --control " + idle.control(),
                                std::string("--help")}) {
    const auto ran = run(arguments, to_full);
    EXPECT_EQ(ran.code, 3) << arguments << ran.all();
    EXPECT_THAT(ran.err, HasSubstr("could not be written"));
  }
  idle.stop();
}

TEST_F(Environment, NobodyReadsTheMessages) {
  const auto nobody_reads = [](int stream) {
    return [stream] {
      std::array<int, 2> ends{};
      or_leave(::pipe2(ends.data(), O_CLOEXEC) == 0);
      or_leave(::dup2(ends[1], stream) == stream);
    };
  };
  const std::string demo = "demo --guest process --memory 32MiB";
  const auto no_messages = run(demo, nobody_reads(STDERR_FILENO));
  EXPECT_EQ(no_messages.code, 0) << no_messages.all();
  EXPECT_THAT(no_messages.out, HasSubstr("completed hybrid"));
  const auto no_result = run(demo, nobody_reads(STDOUT_FILENO));
  EXPECT_EQ(no_result.code, 3) << no_result.all();
}

TEST_F(Environment, DemoCleansUpWhenItsTerminalGoesAway) {
  for (const int number : {SIGHUP, SIGTERM}) {
    Process demo("demo --json --guest process --memory 512MiB",
                 [this] { ::setenv("TMPDIR", directory_.at("").c_str(), 1); });
    ASSERT_TRUE(eventually([&] { return demo.err().find("filling") != std::string::npos; }));
    demo.signal(number);
    const auto ran = outcome_of(demo);
    EXPECT_EQ(ran.code, 130) << ran.all();
    EXPECT_EQ(ran.json["outcome"], "cancelled") << ran.all();
  }
}

struct Surroundings {
  const char* name;
  void (*prepare)();
  const char* arguments;
  int code;
  const char* says;
  bool needs_kvm = false;
};
void PrintTo(const Surroundings& cell, std::ostream* out) {
  *out << cell.arguments;
}

class Taken : public testing::TestWithParam<Surroundings> {};

TEST_P(Taken, IsSaidAndTheRestWorks) {
  if (::geteuid() != 0) {
    GODWIT_MISSING("surroundings", "needs root to take devices and system calls away");
  }
  const auto& cell = GetParam();
  if (cell.needs_kvm) {
    GODWIT_NEED_KVM();
  }
  const auto ran = run(cell.arguments, cell.prepare);
  if (ran.code == kCannot) {
    GODWIT_MISSING("surroundings", "these surroundings cannot be made here");
  }
  EXPECT_EQ(ran.code, cell.code) << ran.all();
  EXPECT_THAT(ran.err, HasSubstr(cell.says)) << ran.all();
  ASSERT_TRUE(ran.json.is_object()) << ran.all();
  if (cell.code == 0) {
    EXPECT_EQ(ran.json["verified"]["mismatches"], 0);
    EXPECT_EQ(ran.json["verified"]["pages_checked"], ran.json["verified"]["pages_expected"]);
  } else {
    EXPECT_EQ(ran.error("phase"), "start") << ran.all();
    EXPECT_FALSE(ran.error("side").empty());
    EXPECT_THAT(ran.error("message"), HasSubstr(cell.says));
    EXPECT_EQ(ran.json["bytes"]["page_payload"], 0);
  }
}

#define GODWIT_DEMO "demo --json --memory 32MiB --workload random-write --guest "
INSTANTIATE_TEST_SUITE_P(
    Surroundings,
    Taken,
    testing::Values(
        Surroundings{"KvmMissingAuto", without_kvm, GODWIT_DEMO "auto", 0, "guest: process"},
        Surroundings{"KvmMissing", without_kvm, GODWIT_DEMO "kvm", 3, "/dev/kvm"},
        Surroundings{"KvmForbiddenAuto",
                     with_kvm_forbidden,
                     GODWIT_DEMO "auto --mode precopy",
                     0,
                     "guest: process"},
        Surroundings{"KvmForbidden", with_kvm_forbidden, GODWIT_DEMO "kvm", 3, "/dev/kvm"},
        Surroundings{
            "KvmIsNoneAuto", with_kvm_that_is_none, GODWIT_DEMO "auto", 0, "guest: process"},
        Surroundings{"KvmIsNone", with_kvm_that_is_none, GODWIT_DEMO "kvm", 3, "/dev/kvm"},
        Surroundings{
            "UffdForbiddenHybrid", without_userfaultfd, GODWIT_DEMO "process", 3, "userfaultfd"},
        Surroundings{"UffdForbiddenPostcopy",
                     without_userfaultfd,
                     GODWIT_DEMO "process --mode postcopy",
                     3,
                     "userfaultfd"},
        Surroundings{"UffdForbiddenPrecopy",
                     without_userfaultfd,
                     GODWIT_DEMO "process --mode precopy",
                     0,
                     ""},
        Surroundings{"UffdForbiddenStopAndCopy",
                     without_userfaultfd,
                     GODWIT_DEMO "process --mode stop-and-copy",
                     0,
                     ""},
        Surroundings{
            "UffdForbiddenKvm", without_userfaultfd, GODWIT_DEMO "kvm", 3, "userfaultfd", true},
        Surroundings{"UffdForbiddenKvmPrecopy",
                     without_userfaultfd,
                     GODWIT_DEMO "kvm --mode precopy",
                     0,
                     "",
                     true},
        Surroundings{"PriorityForbidden",
                     become_nobody,
                     GODWIT_DEMO "process --mode precopy",
                     0,
                     "source: threads that a guest waits for run without their priority"},
        Surroundings{"UffdForbiddenWp",
                     without_userfaultfd,
                     GODWIT_DEMO "process --mode precopy --dirty-source wp",
                     3,
                     "userfaultfd"},
        Surroundings{"UffdForbiddenWpAsync",
                     without_userfaultfd,
                     GODWIT_DEMO "process --mode precopy --dirty-source wp-async",
                     3,
                     "userfaultfd"},
        Surroundings{"UringForbidden", without_io_uring, GODWIT_DEMO "process", 0, "io_uring"},
        Surroundings{"UringForbiddenAndAskedFor",
                     without_io_uring,
                     GODWIT_DEMO "process --transport uring",
                     3,
                     "io_uring"},
        Surroundings{"UringForbiddenStopAndCopy",
                     without_io_uring,
                     GODWIT_DEMO "process --mode stop-and-copy --transport poll",
                     0,
                     ""}),
    [](const auto& cell) { return std::string(cell.param.name); });

}  // namespace
}  // namespace godwit::test
