#pragma once

#include <string>

#include "godwit/net/transport.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"

namespace godwit::app {

/// What a choice came to on this host.
template <typename T>
struct Resolved {
  T choice;
  std::string note;  ///< for the user, when he left it to us: which and why; may be empty
};

/// Decides --guest auto by what this host can do.
/// Errors: kUnsupported when KVM was asked for and cannot be used.
Result<Resolved<vmm::GuestKind>> resolve_kind(GuestChoice choice);
/// Decides --transport auto by what this process can do. The note is empty when it is io_uring.
/// Errors: kUnsupported, kPermission when io_uring was asked for and cannot be used.
Result<Resolved<net::LoopKind>> resolve_transport(TransportChoice choice);

/// The same when a process starts, which says the note on stderr.
Result<vmm::GuestKind> announce_kind(GuestChoice choice);
Result<net::LoopKind> announce_transport(TransportChoice choice);

/// Why guests of `kind` on such memory cannot be served by userfaultfd here, or an empty string.
std::string uffd_unusable_reason(vmm::GuestKind kind, vmm::Backing backing);

}  // namespace godwit::app
