#pragma once

#include <unistd.h>

#include <memory>
#include <string>

#include "godwit/engine/source_session.h"
#include "godwit/engine/target_session.h"
#include "godwit/net/transport.h"
#include "godwit/uffd/target_parts.h"
#include "godwit/vmm/guest.h"

namespace godwit::test {

/// A target host without the command's checks: makes whatever the source describes.
class PlainHost : public engine::TargetHost {
 public:
  bool skip_register = false;

  Result<Machine> create(const engine::MachineDescription& description,
                         const Options& options) override {
    GODWIT_TRY_ASSIGN(auto config, vmm::decode_config(description.config.at(0)));
    config.skip_register = skip_register;
    GODWIT_TRY_ASSIGN(auto guest, vmm::make_guest(config, {.with_alias = true}));
    GODWIT_TRY_ASSIGN(
        auto parts,
        uffd::make_target_parts(guest->memory(),
                                {.postcopy = options.postcopy,
                                 .prealloc = options.prealloc,
                                 .process_guest = config.kind == vmm::GuestKind::kProcess}));
    Machine machine;
    machine.placer = std::move(parts.placer);
    machine.faults = std::move(parts.faults);
    machine.prealloc_ns = parts.prealloc_ns;
    machine.guest = std::move(guest);
    return machine;
  }
};

/// What a migration inside this process goes over.
struct Wire {
  net::LoopKind loop = net::LoopKind::kUring;
  bool unix_socket = false;  ///< else loopback TCP
};

/// One migration inside this process.
struct Migration {
  engine::MigrationReport report;
  engine::TargetState target_state{};
  std::unique_ptr<vmm::Guest> arrived;  ///< null unless completed
};

inline Result<Migration> migrate(vmm::Guest& guest,
                                 const engine::SourceOptions& options,
                                 const engine::TargetOptions& target_options = {},
                                 bool skip_register = false,
                                 const Wire& wire = {}) {
  PlainHost host;
  host.skip_register = skip_register;
  net::ListenOptions listen;
  if (wire.unix_socket) {
    listen.at = {.path = "/tmp/godwit-in-process-" + std::to_string(::getpid())};
  }
  GODWIT_TRY_ASSIGN(auto listener, net::make_listener(wire.loop, listen));
  GODWIT_TRY_ASSIGN(const auto peer, net::parse_endpoint(listener->address()));
  GODWIT_TRY_ASSIGN(auto source_transport, net::make_transport(wire.loop, {.peer = peer}));
  GODWIT_TRY_ASSIGN(auto target_transport, net::make_transport(wire.loop, {.peer = peer}));
  engine::TargetSession target(host, *listener, *target_transport, target_options);
  engine::SourceSession source(guest, *source_transport, options);
  target.start();
  source.start();
  Migration migration;
  migration.report = source.wait();
  if (migration.report.outcome != engine::Outcome::kCompleted) {
    target.abandon();
  }
  migration.target_state = target.wait();
  if (migration.target_state == engine::TargetState::kCompleted) {
    migration.arrived.reset(static_cast<vmm::Guest*>(target.take_guest().release()));
  }
  return migration;
}

}  // namespace godwit::test
