#pragma once

#include <cstdint>

#include "godwit/json/json.h"

#include "link/link.h"
#include "qemu/guest_options.h"
#include "qemu/qemu_peer.h"
#include "run/side.h"

namespace godwit::lab {

/// A post-copy run with fewer requested pages says nothing of post-copy.
inline constexpr std::uint64_t kPageRequestsMin = 100;

/// Boots the payload in QEMU, migrates it to another QEMU on this machine, and has it check itself.
/// `link`: what the two are joined by; null = a loopback of their own.
/// Everything waits with a deadline; what goes wrong is the run's reason. Both processes, their
/// sockets and files are gone when this returns.
PeerRun run_qemu(const QemuPeer& peer,
                 const QemuMode& mode,
                 const GuestOptions& options,
                 const Link* link,
                 int interrupt_fd);

/// Figures from the source's answer to query-migrate; empty members are left out. For tests.
Json qemu_figures(const Json& query_migrate);

}  // namespace godwit::lab
