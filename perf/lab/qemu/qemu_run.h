#pragma once

#include "link/link.h"
#include "qemu/qemu_peer.h"
#include "qemu/qemu_plan.h"
#include "run/side.h"

namespace godwit::lab {

/// Boots the payload in QEMU, migrates it to another QEMU on this machine, and has it check itself.
/// Everything waits with a deadline; what goes wrong is the run's reason. Both processes, their
/// sockets and files are gone when this returns.
PeerRun run_qemu(const QemuPeer& peer, const QemuPlan& plan, const PeerPlace& place);

}  // namespace godwit::lab
