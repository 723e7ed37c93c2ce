#include <poll.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include "cli/advice.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "commands/commands.h"
#include "control/control_socket.h"
#include "host/capabilities.h"
#include "host/huge_pages.h"
#include "service/guest_service.h"

namespace godwit::app {
namespace {

Status run(const RunLine& line, const Signals& signals) {
  auto config = line.guest.config;
  GODWIT_TRY_ASSIGN(config.kind, announce_kind(line.guest.choice));
  GODWIT_TRY(announce_transport(line.transport));
  if (config.backing == vmm::Backing::kHugetlb) {
    GODWIT_TRY(check_huge_pages(config.memory_bytes, "the guest needs"));
  }
  GODWIT_TRY_ASSIGN(const auto service, GuestService::create(line.transport));
  GODWIT_TRY_ASSIGN(auto guest, vmm::make_guest(config, {.in_core_dumps = line.in_core_dumps}));
  GODWIT_TRY_ASSIGN(auto server,
                    ControlServer::start(
                        line.control, [&service](const Json& request, ControlConnection& client) {
                          service->handle(request, client);
                        }));
  GODWIT_TRY(guest->boot());
  service->adopt(std::move(guest));
  print_to(stdout, "serving " + line.control + "\n");

  std::array<pollfd, 2> polled{{{signals.fd(), POLLIN, 0}, {service->end_fd(), POLLIN, 0}}};
  while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
  }
  service->shut_down();
  server.reset();  // waits for the requests that are running, a committed migration among them
  service->stop_guest();
  return {};
}

}  // namespace

int run_command(const RunLine& line, const Signals& signals) {
  if (auto status = run(line, signals); !status) {
    complain(advised(status.error()).message());
    return setup_exit_code(status.error());
  }
  return kExitOk;
}

}  // namespace godwit::app
