// Clients of a control socket that do not behave: silent ones, dead ones, and such that do not read.

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/guest_under_test.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;

/// Slow enough to be met on its way: 16 MiB of pre-copy take four seconds.
constexpr const char* kSlow = "--mode precopy --max-bandwidth 4MiB --max-rounds 2";
/// Committed, and far from its end.
constexpr const char* kNeedsPages = "--mode postcopy --max-bandwidth 8MiB";

class BadClient : public testing::Test {
 protected:
  void TearDown() override { nothing_is_left(directory_); }

  /// Starts a slow migration and waits until pages flow.
  static std::unique_ptr<Process> start(GuestUnderTest& guest, const std::string& to) {
    auto migration = std::make_unique<Process>(guest.migrate_line(to, kSlow));
    EXPECT_TRUE(eventually([&] { return guest.status().value("phase", "") == "precopy"; }))
        << migration->err();
    return migration;
  }

  TemporaryDirectory directory_;
};

// Who asked for a migration may be gone, or may have stopped to read: its outcome stays to be asked for.
TEST_F(BadClient, TheOutcomeOfAMigrationCanBeAskedForLater) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  // The guest has a first attempt behind it.
  EXPECT_EQ(guest.status()["last_migration"]["outcome"], "failed");
  for (const std::uint64_t id : {2UL, 3UL}) {
    auto migration = start(guest, target.address());
    migration->signal(SIGKILL);
    EXPECT_EQ(run("cancel --control " + guest.control()).code, 0);
    EXPECT_TRUE(eventually([&] {
      const auto status = guest.status();
      return status.contains("last_migration") && status["last_migration"]["id"] == id;
    }));
    const auto last = guest.status()["last_migration"];
    EXPECT_EQ(last["outcome"], "cancelled");
    EXPECT_EQ(last["error"]["code"], "cancelled");
    const auto report = run(fmt::format("report --json --control {}", guest.control()));
    EXPECT_EQ(report.code, 0) << report.all();
    EXPECT_EQ(report.json["outcome"], "cancelled");
    EXPECT_TRUE(eventually([&] { return target.waits(); }));
  }
  EXPECT_EQ(run("report --migration 2 --control " + guest.control()).code, 0);
  const auto none = run("report --migration 4 --control " + guest.control());
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("no report of migration 4"));
  guest.goes_on_and_leaves(&target);
}

// Progress may be lost on it, the verdict not.
TEST_F(BadClient, AClientThatDoesNotReadForLongStillHearsTheOutcome) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  Process migration(guest.migrate_line(target.address(), kNeedsPages));
  ASSERT_TRUE(eventually([&] { return target.status().value("phase", "") == "running"; }));
  migration.signal(SIGSTOP);
  EXPECT_EQ(guest.process().wait(), 0) << "it does not wait for a client";
  migration.signal(SIGCONT);
  const auto ran = outcome_of(migration);
  EXPECT_EQ(ran.code, 0) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "completed");
  target.stop();
}

TEST_F(BadClient, AnOperatorGetsInThoughAllPlacesAreTakenByWhoSaysNothing) {
  GuestUnderTest guest(directory_);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  const auto path = guest.control();
  ASSERT_LT(path.size(), sizeof at.sun_path);
  path.copy(at.sun_path, path.size());
  std::vector<Fd> idle;
  for (int i = 0; i < 64; ++i) {
    idle.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(idle.back().get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  }
  for (const auto* command : {"status", "cancel", "switch"}) {
    const auto ran = run(fmt::format("{} --control {}", command, guest.control()));
    EXPECT_EQ(ran.code, std::string_view(command) == "status" ? 0 : 1) << ran.all();
    EXPECT_EQ(ran.err.find("clients"), std::string::npos) << ran.err;
  }
  EXPECT_THAT(guest.process().err(), HasSubstr("silent for longest"));
  idle.clear();
  guest.goes_on_and_leaves();
}

}  // namespace
}  // namespace godwit::test
