#include "service/incoming.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/thread.h"
#include "godwit/net/transport.h"

#include "cli/exit_code.h"
#include "cli/output.h"
#include "host/capabilities.h"
#include "report/trace_file.h"
#include "report/trace_json.h"

namespace godwit::app {
namespace {

engine::TargetOptions target_options(const ReceiveLine& line) {
  engine::TargetOptions options;
  options.timeout_ns = line.timeout_ns;
  options.recovers = line.recover_for_ns != 0;
  options.stall_ns = line.stall_ns;
  options.cpu_priority = line.cpu_priority;
  options.trace_faults = line.trace.empty() ? 0 : kTraceFaults;
  return options;
}

}  // namespace

Status Receiver::listen() {
  GODWIT_TRY_ASSIGN(const auto address, net::parse_endpoint(line_.listen));
  GODWIT_TRY_ASSIGN(const auto loop, announce_transport(line_.transport));
  if (!address.stays_here()) {
    complain(fmt::format("warning: listening on {}: guest memory will travel in plain text",
                         address.host));
  }
  const auto& congestion = line_.congestion;
  GODWIT_TRY_ASSIGN(transport_,
                    net::make_transport(loop, {.peer = address, .congestion = congestion}));
  GODWIT_TRY_ASSIGN(listener_, net::make_listener(loop, {.at = address, .congestion = congestion}));
  return {};
}

void Receiver::wait_for_end() {
  std::array<pollfd, 2> polled{{{signals_.fd(), POLLIN, 0}, {service_->end_fd(), POLLIN, 0}}};
  while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
  }
}

std::unique_ptr<engine::TargetSession> Receiver::make_session() {
  return std::make_unique<engine::TargetSession>(
      host_, *listener_, *transport_, target_options(line_));
}

void Receiver::write_trace() {
  if (!line_.trace.empty() && !session_->trace().states.empty()) {
    trace_code_ = keep_trace(line_.trace, target_trace_json(session_->trace()), kExitOk);
  }
}

void Receiver::wait_for_next() {
  auto next = make_session();
  service_->attempt_failed(session_->error(), next.get());
  session_ = std::move(next);  // all that the failed attempt had brought is dropped here
}

std::optional<int> Receiver::session_ended() {
  const auto state = session_->state();
  const auto error = session_->error();
  const auto reason = error ? fmt::format("{} (noticed by the {} in phase {})",
                                          error->error.message(),
                                          error->side,
                                          error->phase)
                            : std::string(engine::to_string(state));
  switch (state) {
    case engine::TargetState::kCompleted:
      service_->adopt(host_.own(session_->take_guest()));
      session_.reset();
      listener_.reset();  // whoever calls now shall hear that nobody waits
      wait_for_end();
      return kExitOk;
    case engine::TargetState::kSuspended:
    case engine::TargetState::kInDoubt:
      complain(fmt::format("holding the guest ({}): {}", engine::to_string(state), reason));
      listener_.reset();
      service_->incoming_ended();
      wait_for_end();
      return kExitHeld;
    default:
      if (!error || error->phase == engine::to_string(engine::TargetState::kListening)) {
        complain(fmt::format("cannot listen: {}", reason));
        return kExitEnvironment;
      }
      complain(fmt::format(
          "no guest was received: {}; listening on {} again", reason, listener_->address()));
      return std::nullopt;
  }
}

Result<int> Receiver::run() {
  if (!line_.trace.empty()) {
    GODWIT_TRY(check_trace_path(line_.trace));
  }
  GODWIT_TRY_ASSIGN(service_, GuestService::create(line_.transport));
  GODWIT_TRY(listen());
  session_ = make_session();
  service_->set_incoming(session_.get());
  GODWIT_TRY_ASSIGN(
      server_,
      ControlServer::start(line_.control, [this](const Json& request, ControlConnection& client) {
        service_->handle(request, client);
      }));
  GODWIT_TRY_ASSIGN(const auto ended, EventFd::create());
  print_to(stdout, listener_->address() + "\n");
  std::optional<int> code;
  while (!code) {
    session_->start();
    auto waiter = try_start_thread("incoming", ThreadRole::kUrgent, [this, &ended] {
      session_->wait();
      ended.signal();
    });
    if (!waiter) {
      session_->abandon();
      session_->wait();
      return fail(waiter.error());
    }
    std::array<pollfd, 3> polled{
        {{signals_.fd(), POLLIN, 0}, {service_->end_fd(), POLLIN, 0}, {ended.fd(), POLLIN, 0}}};
    while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
    }
    const bool by_itself = (polled[2].revents & POLLIN) != 0;
    // Ended by a signal, or by a stop that came before the guest did: is it lost with us?
    const bool loses_guest = !by_itself && guest_depends_on(*session_);
    if (!by_itself) {
      session_->abandon();
    }
    waiter->join();
    ended.clear();
    write_trace();  // before anybody hears that the attempt has ended
    if (loses_guest) {
      complain("ended while the guest was being handed over; its source holds what is left of it");
    }
    code = by_itself ? session_ended() : loses_guest ? kExitHeld : kExitOk;
    if (!code) {
      wait_for_next();
    }
  }
  if (session_) {
    session_->abandon();  // vCPUs that wait for pages go on, so that they can be stopped
  }
  service_->shut_down();
  server_.reset();
  service_->stop_guest();
  return *code == kExitOk ? trace_code_ : *code;
}

}  // namespace godwit::app
