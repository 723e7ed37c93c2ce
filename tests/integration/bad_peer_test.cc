// Peers that stall, close, lie or are not there: the guest goes on at the source, and a second migration succeeds.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "godwit/base/fd.h"
#include "godwit/wire/codec.h"
#include "godwit/wire/frame.h"
#include "in_process.h"

namespace godwit::test {
namespace {

/// A TCP server that does one thing to its first connection and then keeps it until the end.
class BadPeer {
 public:
  using Deed = std::function<void(int fd)>;

  explicit BadPeer(Deed deed) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    socklen_t length = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this, deed = std::move(deed)] {
      connection_ = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection_.valid()) {
        deed(connection_.get());
      }
    });
  }
  ~BadPeer() { ::shutdown(listener_.get(), SHUT_RDWR); }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  Fd listener_;
  Fd connection_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

class BadPeerTest : public testing::Test {
 protected:
  void SetUp() override {
    vmm::GuestConfig config;
    config.kind = vmm::GuestKind::kProcess;
    config.memory_bytes = 32 * kMiB;
    config.populated_bytes = 24 * kMiB;
    config.working_set_bytes = 8 * kMiB;
    config.workload = vmm::Workload::kRandomWrite;
    auto guest = vmm::make_guest(config, {});
    ASSERT_TRUE(guest) << guest.error().message();
    guest_ = std::move(*guest);
    ASSERT_TRUE(guest_->boot());
    const auto deadline = Deadline::after_ns(60'000'000'000);
    while (!guest_->filled() && !deadline.passed()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  engine::MigrationReport migrate_to(std::uint16_t port) {
    auto transport =
        net::make_transport(net::LoopKind::kUring, {.peer = {.host = "127.0.0.1", .port = port}});
    EXPECT_TRUE(transport);
    engine::SourceOptions options;
    options.timeout_ns = 500'000'000;
    engine::SourceSession source(*guest_, **transport, options);
    source.start();
    return source.wait();
  }

  void guest_goes_on_and_can_still_leave() {
    const auto before = guest_->telemetry().vcpus.at(0).steps;
    const auto deadline = Deadline::after_ns(10'000'000'000);
    while (guest_->telemetry().vcpus.at(0).steps <= before && !deadline.passed()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_GT(guest_->telemetry().vcpus.at(0).steps, before) << "the guest stands still";
    auto second = migrate(*guest_, {});
    ASSERT_TRUE(second) << second.error().message();
    ASSERT_EQ(second->report.outcome, engine::Outcome::kCompleted)
        << (second->report.error ? second->report.error->error.message() : "");
    auto sweep = second->arrived->sweep(Deadline::after_ns(60'000'000'000));
    ASSERT_TRUE(sweep);
    EXPECT_EQ(sweep->mismatches, 0U);
    EXPECT_EQ(second->arrived->telemetry().guest_errors, 0U);
  }

  std::unique_ptr<vmm::Guest> guest_;
};

TEST_F(BadPeerTest, NobodyListens) {
  std::uint16_t port = 0;
  {
    const BadPeer gone([](int) {});
    port = gone.port();
  }
  const auto report = migrate_to(port);
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->side, "source");
  EXPECT_EQ(report.error->phase, "connecting");
  guest_goes_on_and_can_still_leave();
}

TEST_F(BadPeerTest, ClosesAtOnce) {
  const BadPeer peer([](int fd) { ::shutdown(fd, SHUT_RDWR); });
  const auto report = migrate_to(peer.port());
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->phase, "negotiating");
  guest_goes_on_and_can_still_leave();
}

TEST_F(BadPeerTest, NeverAnswers) {
  const BadPeer peer([](int) {});
  const auto report = migrate_to(peer.port());
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->error.code, ErrorCode::kTimeout);
  guest_goes_on_and_can_still_leave();
}

TEST_F(BadPeerTest, SpeaksAnotherProtocol) {
  const BadPeer peer([](int fd) {
    const std::string answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n-------------";
    EXPECT_GT(::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL), 0);
  });
  const auto report = migrate_to(peer.port());
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->error.code, ErrorCode::kProtocol);
  guest_goes_on_and_can_still_leave();
}

TEST_F(BadPeerTest, RefusesTheVersion) {
  const BadPeer peer([](int fd) {
    wire::FrameWriter writer;
    const auto frame = writer.frame(wire::MessageType::kRefuse,
                                    wire::encode(wire::Refuse{ErrorCode::kVersion, 1, "no common version"}));
    EXPECT_GT(::send(fd, frame.data(), frame.size(), MSG_NOSIGNAL), 0);
  });
  const auto report = migrate_to(peer.port());
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->side, "target");
  EXPECT_EQ(report.error->error.code, ErrorCode::kVersion);
  guest_goes_on_and_can_still_leave();
}

TEST_F(BadPeerTest, StopsAnsweringAfterWelcome) {
  const BadPeer peer([](int fd) {
    wire::Welcome welcome;
    welcome.version = wire::kProtocolVersion;
    welcome.features = wire::kFeatureBodyHash | wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
    welcome.session_id[0] = std::byte{1};
    welcome.session_epoch = 1;
    wire::FrameWriter writer;
    const auto frame = writer.frame(wire::MessageType::kWelcome, wire::encode(welcome));
    EXPECT_GT(::send(fd, frame.data(), frame.size(), MSG_NOSIGNAL), 0);
  });
  const auto report = migrate_to(peer.port());
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->error.code, ErrorCode::kTimeout);
  EXPECT_EQ(report.error->phase, "setup");
  guest_goes_on_and_can_still_leave();
}

TEST_F(BadPeerTest, CutBeforeCommit) {
  engine::SourceOptions options;
  options.injection.fault = engine::InjectedFault::kCutBeforeCommit;
  auto cut = migrate(*guest_, options);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->report.outcome, engine::Outcome::kFailed);
  EXPECT_EQ(cut->target_state, engine::TargetState::kInDoubt);
  guest_goes_on_and_can_still_leave();
}

TEST_F(BadPeerTest, StrangerAtTheTargetDoesNotDisturb) {
  PlainHost host;
  auto listener = net::make_listener(net::LoopKind::kUring, {});
  ASSERT_TRUE(listener);
  const auto peer = net::parse_endpoint((*listener)->address());
  auto source_transport = net::make_transport(net::LoopKind::kUring, {.peer = *peer});
  auto target_transport = net::make_transport(net::LoopKind::kUring, {.peer = *peer});
  ASSERT_TRUE(source_transport && target_transport);
  engine::TargetSession target(host, **listener, **target_transport, {});
  target.start();
  const Fd stranger(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(peer->port);
  ASSERT_EQ(::connect(stranger.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  const std::string request(200, 'x');
  ASSERT_GT(::send(stranger.get(), request.data(), request.size(), MSG_NOSIGNAL), 0);
  engine::SourceSession source(*guest_, **source_transport, {});
  source.start();
  EXPECT_EQ(source.wait().outcome, engine::Outcome::kCompleted);
  EXPECT_EQ(target.wait(), engine::TargetState::kCompleted);
}

}  // namespace
}  // namespace godwit::test
