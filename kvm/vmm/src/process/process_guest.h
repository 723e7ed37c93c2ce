#pragma once

#include <memory>

#include "godwit/vmm/guest.h"

namespace godwit::vmm {

struct ProcessGuestOptions {
  /// Track writes by the workers' own marks even where userfaultfd is to be had.
  bool force_instrumented = false;
};

/// Makes a guest that needs no KVM: worker threads of this process over plain memory.
/// Requires: a valid config of kind kProcess. Errors: kInvalidArgument, kNoMemory, kIo.
Result<std::unique_ptr<Guest>> make_process_guest(const GuestConfig& config,
                                                  const MemoryOptions& options,
                                                  const ProcessGuestOptions& process = {});

}  // namespace godwit::vmm
