// The wrong thing at the wrong moment: signals, second requests, and resources that run out while a
// guest is on its way.

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/guest_under_test.h"
#include "support/command/surroundings.h"
#include "support/fake_peer.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;

/// Slow enough to be met on its way: 16 MiB of pre-copy take four seconds.
constexpr const char* kSlow = "--mode precopy --max-bandwidth 4MiB --max-rounds 2";

/// Committed, and far from its end: 16 MiB of pages that the target still needs take four seconds.
constexpr const char* kNeedsPages = "--mode postcopy --max-bandwidth 4MiB";

class BadMoment : public testing::Test {
 protected:
  void TearDown() override { nothing_is_left(directory_); }

  /// Starts a slow migration and waits until pages flow.
  std::unique_ptr<Process> start(GuestUnderTest& guest,
                                 const std::string& to,
                                 const std::string& options = kSlow) {
    auto migration = std::make_unique<Process>(guest.migrate_line(to, options));
    EXPECT_TRUE(eventually([&] { return guest.status().value("phase", "") == "precopy"; }))
        << migration->err();
    return migration;
  }
  static void expect_error(const Outcome& ran,
                           int exit_code,
                           const std::string& code,
                           const std::string& says) {
    EXPECT_EQ(ran.code, exit_code) << ran.all();
    EXPECT_EQ(ran.error("code"), code) << ran.all();
    EXPECT_FALSE(ran.error("side").empty());
    EXPECT_FALSE(ran.error("phase").empty());
    EXPECT_THAT(ran.error("message"), HasSubstr(says));
  }

  TemporaryDirectory directory_;
};

TEST_F(BadMoment, SecondMigrateIsRefusedWhileOneIsOnItsWay) {
  GuestUnderTest guest(directory_);
  Receiver first(directory_, "first");
  Receiver second(directory_, "second");
  auto migration = start(guest, first.address());
  expect_error(guest.migrate(second.address()), 1, "state", "a migration is running");
  EXPECT_EQ(run("cancel --control " + guest.control()).code, 0);
  const auto cancelled = outcome_of(*migration);
  EXPECT_EQ(cancelled.code, 1) << cancelled.all();
  EXPECT_EQ(cancelled.json["outcome"], "cancelled");
  EXPECT_TRUE(eventually([&] { return first.waits(); })) << json_text(first.status());
  guest.goes_on_and_leaves(&first);
  second.stop();
}

// A target has one migration, and says so at once to whoever comes second, in every phase.
TEST_F(BadMoment, SecondSourceAtABusyTargetIsToldAtOnce) {
  for (const auto& [mode, phase] :
       {std::pair("precopy", "receiving"), std::pair("postcopy", "running")}) {
    GuestUnderTest guest(directory_);
    Receiver target(directory_, "target");
    const TemporaryDirectory elsewhere;
    GuestUnderTest second(elsewhere);
    Process migration(guest.migrate_line(
        target.address(), fmt::format("--mode {} --max-bandwidth 8MiB --max-rounds 2", mode)));
    ASSERT_TRUE(eventually([&] { return target.status().value("phase", "") == phase; }));
    // A wait for the deadline would be one of ten minutes.
    expect_error(
        second.migrate(target.address(), "--timeout 600s"), 1, "refused", "has a migration");
    EXPECT_EQ(outcome_of(migration).code, 0);
    EXPECT_EQ(ask(target.control(), "sweep")["sweep"]["mismatches"], 0);
    target.stop();
    second.goes_on_and_leaves();
  }
}

TEST_F(BadMoment, GuestThatArrivesCannotLeaveYet) {
  for (const auto* mode : {"precopy", "postcopy"}) {
    GuestUnderTest guest(directory_);
    Receiver target(directory_, "target");
    Receiver next(directory_, "next");
    expect_error(
        run(fmt::format("migrate --json --control {} --to {}", target.control(), next.address())),
        1,
        "state",
        "no guest has arrived");
    Process migration(guest.migrate_line(
        target.address(), fmt::format("--mode {} --max-bandwidth 8MiB --max-rounds 2", mode)));
    const auto* wanted = std::string_view(mode) == "precopy" ? "receiving" : "running";
    EXPECT_TRUE(eventually([&] { return target.status().value("phase", "") == wanted; }));
    expect_error(
        run(fmt::format("migrate --json --control {} --to {}", target.control(), next.address())),
        1,
        "state",
        "still arriving");
    const auto arrived = outcome_of(migration);
    EXPECT_EQ(arrived.code, 0) << arrived.all();
    EXPECT_EQ(guest.process().wait(), 0);
    EXPECT_TRUE(eventually([&] { return target.status().value("kind", "") == "process"; }));
    const auto onward =
        run(fmt::format("migrate --json --control {} --to {}", target.control(), next.address()));
    EXPECT_EQ(onward.code, 0) << onward.all();
    EXPECT_EQ(target.process().wait(), 0);
    EXPECT_EQ(ask(next.control(), "sweep")["sweep"]["mismatches"], 0);
    next.stop();
  }
}

TEST_F(BadMoment, SwitchAndCancelNeedAMigration) {
  GuestUnderTest guest(directory_);
  for (const auto* command : {"switch", "cancel"}) {
    const auto ran = run(fmt::format("{} --control {}", command, guest.control()));
    EXPECT_EQ(ran.code, 1) << ran.all();
    EXPECT_THAT(ran.err, HasSubstr("no migration is running"));
  }
  guest.goes_on_and_leaves();
}

TEST_F(BadMoment, InterruptedClientCancels) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  auto migration = start(guest, target.address());
  migration->signal(SIGINT);
  const auto ran = outcome_of(*migration);
  EXPECT_EQ(ran.code, 130) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "cancelled");
  EXPECT_TRUE(eventually([&] { return target.waits(); }));
  guest.goes_on_and_leaves(&target);
}

TEST_F(BadMoment, CancelledWhileItConnects) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  // A listener that never accepts and has no room: once its queue is full, handshakes are dropped.
  const Fd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  auto* generic = reinterpret_cast<sockaddr*>(&bound);
  ASSERT_EQ(::getsockname(listening.get(), generic, &size), 0);
  std::vector<Fd> waiting;
  pollfd polled{-1, POLLOUT, 0};
  do {
    waiting.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)::connect(waiting.back().get(), generic, size);
    polled.fd = waiting.back().get();
  } while (::poll(&polled, 1, 200) == 1);
  Process migration(
      guest.migrate_line(fmt::format("tcp:127.0.0.1:{}", ntohs(bound.sin_port)), "--timeout 600s"));
  ASSERT_TRUE(eventually([&] { return guest.status().value("phase", "") == "connecting"; }));
  migration.signal(SIGINT);
  const auto ran = outcome_of(migration);
  EXPECT_EQ(ran.code, 130) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "cancelled");
  guest.goes_on_and_leaves(&target);
}

TEST_F(BadMoment, TargetEndsBeforeCommit) {
  for (const int number : {SIGTERM, SIGKILL}) {
    GuestUnderTest guest(directory_);
    Receiver target(directory_, "target");
    auto migration = start(guest, target.address());
    target.process().signal(number);
    const auto ran = outcome_of(*migration);
    // What it says on the control channel and the end of the other two may come in any order.
    expect_error(ran, 1, ran.error("code") == "cancelled" ? "cancelled" : "closed", "");
    EXPECT_EQ(target.process().wait(), number == SIGKILL ? -SIGKILL : 0);
    EXPECT_TRUE(port_is_free(target.port()));
    ::unlink(target.control().c_str());  // a killed process cannot
    guest.goes_on_and_leaves();
  }
}

TEST_F(BadMoment, SourceIsToldToEndBeforeCommit) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  auto migration = start(guest, target.address());
  guest.process().signal(SIGTERM);
  const auto ran = outcome_of(*migration);
  EXPECT_EQ(ran.code, 1) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "cancelled");
  EXPECT_EQ(guest.process().wait(), 0) << guest.process().err();
  EXPECT_TRUE(eventually([&] { return target.waits(); })) << json_text(target.status());
  target.stop();
}

TEST_F(BadMoment, SourceIsKilledBeforeCommit) {
  Receiver target(directory_, "target");
  const auto before = Holdings::settled(target.process().pid());
  {
    GuestUnderTest guest(directory_);
    auto migration = start(guest, target.address());
    guest.process().signal(SIGKILL);
    expect_error(outcome_of(*migration), 5, "closed", "godwit status");
    ::unlink(guest.control().c_str());
  }
  EXPECT_TRUE(eventually([&] { return target.waits(); })) << json_text(target.status());
  EXPECT_EQ(target.status()["error"]["code"], "closed");
  EXPECT_THAT(target.process().err(), HasSubstr("; listening on " + target.address() + " again"));
  EXPECT_TRUE(eventually([&] { return Holdings::of(target.process().pid()) == before; }, 5))
      << "before: " << before.text() << "; after: " << Holdings::of(target.process().pid()).text();
  GuestUnderTest guest(directory_);
  guest.goes_on_and_leaves(&target);
}

TEST_F(BadMoment, ReportCallsNothingMeasuredThatIsNot) {
  const auto ran =
      run("demo --guest process --memory 32MiB --mode precopy --inject cut-before-commit");
  EXPECT_EQ(ran.code, 1) << ran.all();
  EXPECT_THAT(ran.out, HasSubstr("guest saw   largest stall"));
  EXPECT_EQ(ran.out.find("clock off by"), std::string::npos) << ran.out;
}

TEST_F(BadMoment, SecondInterruptEndsTheClientOnly) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  Process migration(guest.migrate_line(target.address(), kNeedsPages));
  ASSERT_TRUE(eventually([&] { return target.status().value("phase", "") == "running"; }));
  migration.signal(SIGINT);
  ASSERT_TRUE(eventually([&] {
    return migration.err().find("it can no longer be cancelled") != std::string::npos;
  })) << migration.err();
  migration.signal(SIGINT);
  const auto ran = outcome_of(migration);
  EXPECT_EQ(ran.code, 130) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "in_doubt") << "nobody has asked how it ends";
  EXPECT_THAT(ran.err, HasSubstr("the migration goes on in the guest's process"));
  EXPECT_EQ(guest.process().wait(), 0) << "and so it did";
  EXPECT_EQ(ask(target.control(), "sweep")["sweep"]["mismatches"], 0);
  target.stop();
}

TEST_F(BadMoment, TargetKeepsAGuestThatStillNeedsPages) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  Process migration(guest.migrate_line(target.address(), kNeedsPages));
  ASSERT_TRUE(eventually([&] { return target.status().value("phase", "") == "running"; }));
  const auto refused = run("stop --control " + target.control());
  EXPECT_EQ(refused.code, 1) << refused.all();
  EXPECT_THAT(refused.err, HasSubstr("still needs"));
  EXPECT_EQ(target.status().value("state", ""), "running");
  target.process().signal(SIGTERM);
  EXPECT_EQ(target.process().wait(), 5) << target.process().err();
  const auto ran = outcome_of(migration);
  EXPECT_EQ(ran.code, 5) << ran.all();
  EXPECT_EQ(run("stop --control " + guest.control()).code, 0) << "a held guest may be given up";
  EXPECT_EQ(guest.process().wait(), 0);
}

/// The child of a demo that runs `command`; 0 if there is none (yet).
pid_t child_of(pid_t demo, const std::string& command) {
  std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", demo));
  for (pid_t child = 0; children >> child;) {
    std::ifstream file(fmt::format("/proc/{}/cmdline", child));
    std::string program;
    std::string first;
    std::getline(file, program, '\0');
    std::getline(file, first, '\0');
    if (first == command) {
      return child;
    }
  }
  return 0;
}

struct Death {
  const char* name;
  const char* mode;
  const char* command;
  int code;
  const char* outcome;
};
void PrintTo(const Death& cell, std::ostream* out) {
  *out << cell.name;
}

class DemoChildDies : public testing::TestWithParam<Death> {};

TEST_P(DemoChildDies, AndTheExitCodeTellsWhatIsKnown) {
  const auto& cell = GetParam();
  Process demo(
      fmt::format("demo --json --guest process --memory 32MiB --max-bandwidth 8MiB --recover-for "
                  "300ms --mode {}",
                  cell.mode));
  ASSERT_TRUE(eventually([&] { return demo.err().find(cell.mode) != std::string::npos; }))
      << demo.err();
  const auto child = child_of(demo.pid(), cell.command);
  ASSERT_NE(child, 0);
  ::kill(child, SIGKILL);
  const auto ran = outcome_of(demo);
  EXPECT_EQ(ran.code, cell.code) << ran.all();
  ASSERT_TRUE(ran.json.is_object()) << ran.all();
  EXPECT_EQ(ran.json["outcome"], cell.outcome) << ran.all();
  EXPECT_FALSE(ran.error("message").empty());
}

INSTANTIATE_TEST_SUITE_P(
    Deaths,
    DemoChildDies,
    testing::Values(Death{"TargetInPostcopy", "postcopy", "receive", 5, "in_doubt"},
                    Death{"SourceInPostcopy", "postcopy", "run", 5, "in_doubt"},
                    Death{"TargetInPrecopy", "precopy", "receive", 1, "failed"},
                    Death{"SourceInPrecopy", "precopy", "run", 5, "in_doubt"}),
    [](const auto& cell) { return std::string(cell.param.name); });

// ------------------------------------------------------------------------------------ resources

TEST_F(BadMoment, FloorsTakeNoMemoryThatIsNotThere) {
  const MemoryGroup group(400ULL << 20);
  if (!group.usable()) {
    GODWIT_MISSING("surroundings", "no memory group can be made here");
  }
  {
    GuestUnderTest guest(directory_, GuestUnderTest::kOptions, [&group] { group.join(); });
    Receiver target(directory_, "target");
    expect_error(guest.migrate(target.address(), "--floors"), 3, "no-memory", "without --floors");
    EXPECT_TRUE(target.waits()) << "nothing has reached it";
    guest.goes_on_and_leaves(&target);
  }
}

// The group would end the process, and the guest with it.
TEST_F(BadMoment, ChannelsTakeNoMemoryThatIsNotThere) {
  const MemoryGroup group(56ULL << 20);
  if (!group.usable()) {
    GODWIT_MISSING("surroundings", "no memory group can be made here");
  }
  {
    GuestUnderTest guest(directory_, GuestUnderTest::kOptions, [&group] { group.join(); });
    Receiver target(directory_, "target");
    expect_error(
        guest.migrate(target.address(), "--channels 64"), 3, "no-memory", "fewer --channels");
    EXPECT_TRUE(target.waits()) << "nothing has reached it";
    guest.goes_on_and_leaves(&target);
  }
}

TEST_F(BadMoment, SourceHasNoDescriptorLeft) {
  // The first limit leaves the control socket working, the second not even that.
  for (const rlim_t most : {15, 13}) {
    Process source(
        fmt::format("run --control {} {}", directory_.at("guest"), GuestUnderTest::kOptions),
        [most] { limit(RLIMIT_NOFILE, most); });
    const auto line = source.first_line();
    if (line.empty()) {
      EXPECT_EQ(source.wait(), 3);
      EXPECT_THAT(source.err(), HasSubstr("Too many open files"));
      continue;
    }
    Receiver target(directory_, "target");
    const auto ran = run(fmt::format(
        "migrate --json --control {} --to {}", directory_.at("guest"), target.address()));
    EXPECT_TRUE(ran.code == 1 || ran.code == 3) << ran.all();
    EXPECT_FALSE(ran.error("message").empty()) << ran.all();
    const auto steps = [&] {
      const auto now = ask(directory_.at("guest"), "status");
      return now.is_object() ? now.value("steps", std::uint64_t{0}) : 0;
    };
    const auto at = steps();
    EXPECT_TRUE(eventually([&] { return steps() > at; })) << "the guest stands still";
    target.stop();
    EXPECT_EQ(run("stop --control " + directory_.at("guest")).code, 0);
    EXPECT_EQ(source.wait(), 0);
  }
}

TEST_F(BadMoment, TargetHasNoDescriptorLeft) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target", "", [] { limit(RLIMIT_NOFILE, 18); });
  ASSERT_TRUE(target.listens()) << target.process().err();
  const auto ran = guest.migrate(target.address());
  EXPECT_EQ(ran.code, 1) << ran.all();
  EXPECT_FALSE(ran.error("message").empty());
  EXPECT_TRUE(eventually([&] { return target.waits(); })) << target.process().err();
  guest.goes_on_and_leaves();
  target.stop();
}

TEST_F(BadMoment, DiskUnderTheControlSocketIsFull) {
  const auto place = directory_.at("full");
  ::mkdir(place.c_str(), 0755);
  for (const auto* command : {"run --guest process --memory 32MiB", "receive"}) {
    const auto ran = run(fmt::format("{} --control {}/socket", command, place), [&place] {
      own_mounts();
      or_leave(::mount("tmpfs", place.c_str(), "tmpfs", 0, "nr_inodes=1") == 0);
    });
    if (ran.code == kCannot) {
      ::rmdir(place.c_str());
      GODWIT_MISSING("surroundings", "no private mount can be made here");
    }
    EXPECT_EQ(ran.code, 3) << ran.all();
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, HasSubstr("/full/socket: No space left on device"));
  }
  ::rmdir(place.c_str());
}

TEST_F(BadMoment, TargetIsKilledForItsMemoryGroup) {
  const MemoryGroup group(160ULL << 20);
  if (!group.usable()) {
    GODWIT_MISSING("surroundings", "no memory group can be made here");
  }
  GuestUnderTest guest(directory_);
  {
    Receiver target(directory_, "target", "", [&group] {
      // When the group has no more, this process is the one to go.
      const Fd score(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
      or_leave(::write(score.get(), "1000", 4) == 4);
      group.join();
    });
    ASSERT_TRUE(target.listens()) << target.process().err();
    auto migration = start(guest, target.address());
    const auto hog = ::fork();
    if (hog == 0) {
      group.join();
      const std::size_t bytes = 156ULL << 20;
      auto* memory = static_cast<char*>(
          ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      for (std::size_t at = 0; at < bytes; at += 4096) {
        memory[at] = 1;
      }
      ::pause();
    }
    const auto ran = outcome_of(*migration);
    ::kill(hog, SIGKILL);
    ::waitpid(hog, nullptr, 0);
    expect_error(ran, 1, "closed", "");
    EXPECT_EQ(target.process().wait(), -SIGKILL);
    ::unlink(target.control().c_str());
  }
  guest.goes_on_and_leaves();
}

// -------------------------------------------------------------------------------------- network

/// A network of its own with a loopback link that can be taken away: no FIN and no RST tells of it.
class OwnNetwork {
 public:
  OwnNetwork() {
    inside([this] {
      if (::unshare(CLONE_NEWNET) == 0) {
        fd_ = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
        link(true);
      }
    });
  }
  [[nodiscard]] bool usable() const { return fd_.valid(); }
  void enter() const { or_leave(::setns(fd_.get(), CLONE_NEWNET) == 0); }
  void run(const std::function<void()>& body) const {
    inside([this, &body] {
      if (::setns(fd_.get(), CLONE_NEWNET) == 0) {
        body();
      }
    });
  }
  void set_link(bool up) const {
    run([up] { link(up); });
  }

 private:
  /// On a thread of its own, which alone leaves this process's network.
  static void inside(const std::function<void()>& body) { std::thread(body).join(); }
  static void link(bool up) {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = static_cast<short>(up ? IFF_UP | IFF_RUNNING : 0);
    ::ioctl(socket.get(), SIOCSIFFLAGS, &request);
  }
  Fd fd_;
};

TEST_F(BadMoment, NameServerSaysNothing) {
  OwnNetwork network;
  if (!network.usable()) {
    GODWIT_MISSING("surroundings", "no network of its own can be made here");
  }
  const auto servers = directory_.at("resolv.conf");
  std::ofstream(servers) << "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n";
  Fd silent;
  network.run([&silent] {
    silent = Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(53);
    EXPECT_EQ(::bind(silent.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  });
  const auto prepare = [&] {
    network.enter();
    own_mounts();
    or_leave(::mount(servers.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) == 0);
  };
  if (run("status --help", prepare).code == kCannot) {
    ::unlink(servers.c_str());
    GODWIT_MISSING("surroundings", "no private mount can be made here");
  }
  GuestUnderTest guest(directory_, GuestUnderTest::kOptions, prepare);
  Receiver target(directory_, "target", "", prepare);
  expect_error(guest.migrate("tcp:somewhere.example:7000", "--timeout 300ms"),
               1,
               "timeout",
               "somewhere.example: the resolver does not answer");
  ::unlink(servers.c_str());
  guest.goes_on_and_leaves(&target);
}

TEST_F(BadMoment, LinkGoesSilent) {
  OwnNetwork network;
  if (!network.usable()) {
    GODWIT_MISSING("surroundings", "no network of its own can be made here");
  }
  const auto prepare = [&network] { network.enter(); };
  GuestUnderTest guest(directory_, GuestUnderTest::kOptions, prepare);
  Receiver target(directory_, "target", "--timeout 1500ms", prepare);
  ASSERT_TRUE(target.listens());
  auto migration = start(guest, target.address(), std::string(kSlow) + " --timeout 1s");
  network.set_link(false);
  expect_error(outcome_of(*migration), 1, "timeout", "no progress");
  EXPECT_TRUE(eventually([&] { return target.waits(); })) << json_text(target.status());
  EXPECT_EQ(target.status()["error"]["code"], "timeout") << json_text(target.status());
  network.set_link(true);
  guest.goes_on_and_leaves(&target);
}

}  // namespace
}  // namespace godwit::test
