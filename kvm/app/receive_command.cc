#include <poll.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include "godwit/base/thread.h"
#include "godwit/net/socket.h"
#include "godwit/net/uring_transport.h"

#include "commands.h"
#include "control_socket.h"
#include "exit_code.h"
#include "guest_service.h"
#include "target_host.h"

namespace godwit::app {
namespace {

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

engine::TargetOptions target_options(const CommandLine& line) {
  engine::TargetOptions options;
  options.timeout_ns = line.migration.source.timeout_ns;
  if (line.drop_page) {
    options.injection.fault = engine::InjectedFault::kDropPage;
    options.injection.page = *line.drop_page;
  }
  return options;
}

/// One incoming guest, then the life of its process.
class Receiver {
 public:
  Receiver(const CommandLine& line, const Signals& signals)
      : line_(line),
        signals_(signals),
        host_({.memory_cap = line.memory_cap,
               .backing = line.backing,
               .skip_register = line.skip_register}) {}

  Result<int> run();

 private:
  Status listen();
  /// Waits for a signal, a stop request, or (until it has ended) the session.
  void wait_for_end();
  int session_ended();

  const CommandLine& line_;
  const Signals& signals_;
  TargetHost host_;
  std::unique_ptr<GuestService> service_;
  std::unique_ptr<engine::Transport> transport_;
  std::unique_ptr<engine::Listener> listener_;
  std::unique_ptr<engine::TargetSession> session_;
  std::unique_ptr<ControlServer> server_;
};

Status Receiver::listen() {
  GODWIT_TRY_ASSIGN(const auto address, net::parse_address(line_.listen));
  if (!is_loopback(address.host)) {
    complain(fmt::format("warning: listening on {}: guest memory will travel in plain text",
                         address.host));
  }
  GODWIT_TRY_ASSIGN(
      transport_,
      net::make_uring_transport(
          {.host = address.host, .port = address.port, .congestion = line_.migration.congestion}));
  GODWIT_TRY_ASSIGN(
      listener_,
      net::listen_tcp(
          {.host = address.host, .port = address.port, .congestion = line_.migration.congestion}));
  return {};
}

void Receiver::wait_for_end() {
  std::array<pollfd, 2> polled{{{signals_.fd(), POLLIN, 0}, {service_->end_fd(), POLLIN, 0}}};
  while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
  }
}

int Receiver::session_ended() {
  const auto state = session_->state();
  const auto error = session_->error();
  const auto reason = error ? error->error.message() : std::string(engine::to_string(state));
  switch (state) {
    case engine::TargetState::kCompleted: {
      // TargetHost made it, so it is one of ours.
      std::unique_ptr<vmm::Guest> guest(static_cast<vmm::Guest*>(session_->take_guest().release()));
      service_->adopt(std::move(guest));
      session_.reset();
      wait_for_end();
      return kExitOk;
    }
    case engine::TargetState::kSuspended:
    case engine::TargetState::kInDoubt:
      complain(fmt::format("holding the guest ({}): {}", engine::to_string(state), reason));
      service_->incoming_ended();
      wait_for_end();
      return kExitHeld;
    default:
      complain(fmt::format("no guest was received: {}", reason));
      service_->incoming_ended();
      return kExitFailed;
  }
}

Result<int> Receiver::run() {
  GODWIT_TRY_ASSIGN(service_, GuestService::create());
  GODWIT_TRY(listen());
  session_ = std::make_unique<engine::TargetSession>(
      host_, *listener_, *transport_, target_options(line_));
  service_->set_incoming(session_.get());
  GODWIT_TRY_ASSIGN(
      server_,
      ControlServer::start(line_.control, [this](const Json& request, ControlConnection& client) {
        service_->handle(request, client);
      }));
  GODWIT_TRY_ASSIGN(const auto ended, EventFd::create());
  fmt::print("tcp:{}\n", listener_->address());
  std::fflush(stdout);
  session_->start();
  auto waiter = start_thread("incoming", ThreadRole::kUrgent, [this, &ended] {
    session_->wait();
    ended.signal();
  });

  std::array<pollfd, 3> polled{
      {{signals_.fd(), POLLIN, 0}, {service_->end_fd(), POLLIN, 0}, {ended.fd(), POLLIN, 0}}};
  while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
  }
  int code = kExitOk;
  if ((polled[2].revents & POLLIN) != 0) {
    waiter.join();
    code = session_ended();
  } else {
    session_->abandon();
    waiter.join();
  }
  if (session_) {
    session_->abandon();  // vCPUs that wait for pages go on, so that they can be stopped
  }
  service_->shut_down();
  server_.reset();
  service_->stop_guest();
  return code;
}

}  // namespace

int receive_command(const CommandLine& line, const Signals& signals) {
  Receiver receiver(line, signals);
  const auto code = receiver.run();
  if (!code) {
    complain(code.error().message());
    return setup_exit_code(code.error());
  }
  return *code;
}

}  // namespace godwit::app
