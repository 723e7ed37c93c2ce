#pragma once

#include <cstdint>
#include <functional>
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
    bool skip_register = false;               ///< plants GuestConfig::skip_register
  };
  explicit TargetHost(Limits limits) : limits_(limits) {}

  Result<Machine> create(const engine::MachineDescription& description,
                         const Options& options) override;

 private:
  Limits limits_;
};

}  // namespace godwit::app
