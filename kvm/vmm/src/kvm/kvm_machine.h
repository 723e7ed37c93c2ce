#pragma once

#include <memory>

#include "godwit/base/result.h"
#include "godwit/vmm/guest.h"

namespace godwit::vmm {

/// A machine that runs the payload of kvm/guest on KVM. Nothing runs yet.
/// Errors: kUnsupported and kPermission (no KVM here), kInvalidArgument, kNoMemory, kIo.
/// Thread: as Guest says. A vCPU that waits for a page at the target needs no kick: nothing but
/// quiesce(), stop() and the destructor waits for it.
Result<std::unique_ptr<Guest>> make_kvm_guest(const GuestConfig& config,
                                              const MemoryOptions& options);

}  // namespace godwit::vmm
