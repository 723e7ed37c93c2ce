#pragma once

#include <memory>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/mapping.h"
#include "godwit/engine/ports/guest.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/vmm/guest.h"

namespace godwit::vmm {

/// A guest's memory: a memfd a region (of huge pages if asked for), the mapping that the guest runs on, and at the target an
/// alias; or a private anonymous mapping a region. Ownership: files and mappings; the view points
/// into it and moves along.
class OwnedMemory {
 public:
  /// Errors: kNoMemory, kIo. Cost: three system calls a region; no page is populated.
  static Result<OwnedMemory> create(const std::vector<engine::MachineDescription::Region>& regions,
                                    Backing backing,
                                    const MemoryOptions& options);

  [[nodiscard]] const engine::GuestMemory& view() const { return view_; }
  /// Which of its pages were ever written. The scan must not outlive the memory.
  [[nodiscard]] std::unique_ptr<engine::PopulatedScan> populated() const;

 private:
  Status add_memfd(engine::MemoryRegion region, bool huge_pages, const MemoryOptions& options);
  Status add_anonymous(engine::MemoryRegion region, const MemoryOptions& options);

  std::vector<Fd> files_;
  std::vector<Mapping> mappings_;
  engine::GuestMemory view_;
};

}  // namespace godwit::vmm
