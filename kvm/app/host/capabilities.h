#pragma once

#include <string>

#include "godwit/net/transport.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"

namespace godwit::app {

/// Decides --guest auto by what this host can do. `note` tells which and why.
/// Errors: kUnsupported when KVM was asked for and cannot be used.
Result<vmm::GuestKind> resolve_kind(GuestChoice choice, std::string& note);

/// Decides --transport auto by what this process can do. `note` says so when it is not io_uring,
/// and why. Errors: kUnsupported, kPermission when io_uring was asked for and cannot be used.
Result<net::LoopKind> resolve_transport(TransportChoice choice, std::string& note);

/// Why guests of `kind` on such memory cannot be served by userfaultfd here, or an empty string.
std::string uffd_unusable_reason(vmm::GuestKind kind, vmm::Backing backing);

}  // namespace godwit::app
