#include "godwit/vmm/guest.h"

#include "kvm/kvm_machine.h"
#include "process/process_guest.h"

namespace godwit::vmm {

Result<std::unique_ptr<Guest>> make_guest(const GuestConfig& config, const MemoryOptions& options) {
  GODWIT_TRY(validate(config));
  GODWIT_TRY(probe_dirty_choice(config.kind, config.dirty, config.backing == Backing::kHugetlb));
  return config.kind == GuestKind::kKvm ? make_kvm_guest(config, options)
                                        : make_process_guest(config, options);
}

}  // namespace godwit::vmm
