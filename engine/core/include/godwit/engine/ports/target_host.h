#pragma once

#include <cstdint>
#include <memory>

#include "godwit/base/result.h"
#include "godwit/engine/ports/guest.h"
#include "godwit/engine/ports/placing.h"

/// Ports: who makes the target's machine.
namespace godwit::engine {

/// Makes the target's machine once the source has described it.
class TargetHost {
 public:
  virtual ~TargetHost() = default;
  struct Options {
    bool postcopy = true;   ///< pages may come after the switch: userfaultfd is needed
    bool prealloc = false;  ///< memory populated now
  };
  struct Machine {
    std::unique_ptr<TargetGuest> guest;
    std::unique_ptr<PagePlacer> placer;
    std::unique_ptr<FaultService> faults;  ///< null unless Options::postcopy
    std::int64_t prealloc_ns = 0;
  };
  /// Errors: kRefused with a reason (layout, memory cap, userfaultfd missing): nothing has changed.
  virtual Result<Machine> create(const MachineDescription& description, const Options& options) = 0;
};

}  // namespace godwit::engine
