#include "support/command/guest_under_test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <memory>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::test {
namespace {

std::size_t entries(const std::string& path) {
  std::size_t count = 0;
  if (DIR* directory = ::opendir(path.c_str()); directory != nullptr) {
    while (::readdir(directory) != nullptr) {
      ++count;
    }
    ::closedir(directory);
    count -= 2;
  }
  return count;
}

}  // namespace

Holdings Holdings::of(pid_t pid) {
  Holdings holdings;
  holdings.descriptors = entries(fmt::format("/proc/{}/fd", pid));
  holdings.threads = entries(fmt::format("/proc/{}/task", pid));
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:") != std::string::npos ||
        line.find("anon_inode:") != std::string::npos) {
      ++holdings.shared_maps;
    }
  }
  return holdings;
}

Holdings Holdings::settled(pid_t pid) {
  auto last = of(pid);
  int same = 0;
  eventually(
      [&] {
        const auto now = of(pid);
        same = now == last ? same + 1 : 0;
        last = now;
        return same == 15;
      },
      5);
  return last;
}

std::string Holdings::text() const {
  return fmt::format(
      "{} descriptors, {} threads, {} shared maps", descriptors, threads, shared_maps);
}

bool port_is_free(std::uint16_t port) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;  // what TIME_WAIT keeps is nobody's listener
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  return ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 &&
         ::listen(fd.get(), 1) == 0;
}

Receiver::Receiver(const TemporaryDirectory& directory,
                   const std::string& name,
                   const std::string& options,
                   const Prepare& prepare)
    : control_(directory.at(name)),
      process_(fmt::format("receive --control {} {}", control_, options), prepare) {
  const auto line = process_.first_line();
  if (const auto colon = line.rfind(':'); line.rfind("tcp:", 0) == 0) {
    port_ = static_cast<std::uint16_t>(std::stoul(line.substr(colon + 1)));
    // The address is told before the session has its ring.
    EXPECT_TRUE(eventually([this] { return Holdings::of(process_.pid()).shared_maps > 0; }));
  }
}

std::string Receiver::address() const {
  return fmt::format("tcp:127.0.0.1:{}", port_);
}

bool Receiver::waits() const {
  const auto now = status();
  return now.is_object() && now.value("state", "") == "waiting";
}

void Receiver::stop() {
  EXPECT_FALSE(process_.ended()) << process_.err();
  EXPECT_EQ(run("stop --control " + control_).code, 0);
  EXPECT_EQ(process_.wait(), 0) << process_.err();
  EXPECT_NE(::access(control_.c_str(), F_OK), 0) << "the control socket is left";
  EXPECT_TRUE(port_is_free(port_));
}

GuestUnderTest::GuestUnderTest(const TemporaryDirectory& directory,
                               const std::string& options,
                               const Prepare& prepare)
    : directory_(directory),
      control_(directory.at("guest")),
      process_(fmt::format("run --control {} {}", control_, options), prepare) {
  process_.first_line();
  const auto filled = ask(control_, "filled");
  EXPECT_TRUE(filled.is_object() && filled.value("filled", true)) << process_.err();
  // The machine keeps its dirty source once it has had to make one.
  EXPECT_NE(migrate("tcp:127.0.0.1:1").code, 0);
  before_ = Holdings::settled(process_.pid());
}

std::uint64_t GuestUnderTest::steps() const {
  const auto now = status();
  return now.is_object() ? now.value("steps", std::uint64_t{0}) : 0;
}

std::string GuestUnderTest::migrate_line(const std::string& to, const std::string& options) const {
  return fmt::format("migrate --json --control {} --to {} {}", control_, to, options);
}

Outcome GuestUnderTest::migrate(const std::string& to, const std::string& options) const {
  return run(migrate_line(to, options));
}

void GuestUnderTest::goes_on_and_leaves(Receiver* good, const std::string& options) {
  const auto at = steps();
  EXPECT_TRUE(eventually([&] { return steps() > at; })) << "the guest stands still";
  EXPECT_EQ(status().value("state", ""), "running");
  EXPECT_TRUE(eventually([this] { return Holdings::of(process_.pid()) == before_; }, 5))
      << "before: " << before_.text() << "; after: " << Holdings::of(process_.pid()).text();
  std::unique_ptr<Receiver> own;
  if (good == nullptr) {
    own = std::make_unique<Receiver>(directory_, "good");
    good = own.get();
  }
  ASSERT_TRUE(good->listens()) << good->process().err();
  const auto second = migrate(good->address(), options);
  ASSERT_EQ(second.code, 0) << second.all();
  EXPECT_EQ(process_.wait(), 0) << process_.err();
  EXPECT_NE(::access(control_.c_str(), F_OK), 0) << "the control socket is left";
  const auto swept = ask(good->control(), "sweep");
  ASSERT_TRUE(swept.is_object() && swept.contains("sweep")) << json_text(swept);
  EXPECT_GT(swept["sweep"]["pages_checked"], 0);
  EXPECT_EQ(swept["sweep"]["pages_checked"], swept["sweep"]["pages_expected"]);
  EXPECT_EQ(swept["sweep"]["mismatches"], 0);
  EXPECT_EQ(swept["telemetry"]["guest_errors"], 0);
  good->stop();
}

void nothing_is_left(const TemporaryDirectory& directory) {
  EXPECT_THAT(directory.names(), testing::IsEmpty());
  std::ifstream children(fmt::format("/proc/self/task/{}/children", ::getpid()));
  std::string pids;
  std::getline(children, pids);
  EXPECT_EQ(pids, "") << "processes are left";
}

}  // namespace godwit::test
