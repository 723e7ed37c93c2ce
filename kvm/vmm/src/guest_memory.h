#pragma once

#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/mapping.h"
#include "godwit/engine/ports.h"
#include "godwit/vmm/guest.h"

namespace godwit::vmm {

/// A guest's memory: one memfd a region, the mapping that the guest runs on, and at the target an
/// alias. Ownership: files and mappings; the view points into it and moves along.
class OwnedMemory {
 public:
  /// Errors: kNoMemory, kIo. Cost: three system calls a region; no page is populated.
  static Result<OwnedMemory> create(const std::vector<engine::MachineDescription::Region>& regions,
                                    const MemoryOptions& options);

  [[nodiscard]] const engine::GuestMemory& view() const { return view_; }

 private:
  std::vector<Fd> files_;
  std::vector<Mapping> mappings_;
  engine::GuestMemory view_;
};

}  // namespace godwit::vmm
