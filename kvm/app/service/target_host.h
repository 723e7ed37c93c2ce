#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "godwit/engine/ports/target_host.h"
#include "godwit/vmm/guest.h"

namespace godwit::app {

/// Makes the reference machine that a source describes, or says why this host will not.
/// Guarantees: everything is checked before anything is allocated, so a refusal leaves no trace.
class TargetHost final : public engine::TargetHost {
 public:
  struct Limits {
    std::optional<std::uint64_t> memory_cap;  ///< largest guest that is accepted, bytes
    std::optional<vmm::Backing> backing;      ///< of guest memory here, whatever the source's is
    bool in_core_dumps = false;               ///< guest memory, of this process
    bool skip_register = false;               ///< plants GuestConfig::skip_register
    std::optional<PageId> drop_page;          ///< plants the loss of its bytes
  };
  explicit TargetHost(Limits limits) : limits_(limits) {}

  Result<Machine> create(const engine::MachineDescription& description,
                         const Options& options) override;

  /// `guest` as what create() made it. Requires: it is the one that was made last.
  std::unique_ptr<vmm::Guest> own(std::unique_ptr<engine::TargetGuest> guest) const;

 private:
  Limits limits_;
  vmm::Guest* made_ = nullptr;  ///< owned by whoever has the machine
};

}  // namespace godwit::app
