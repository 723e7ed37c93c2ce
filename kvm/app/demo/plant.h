#pragma once

#include <cstdint>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"

namespace godwit::app {

/// A planted fault and what it hits.
struct Plant {
  PlantedKind fault = PlantedKind::kNone;
  PageId page;                      ///< of flip-bit and drop-page
  std::vector<PageRun> candidates;  ///< of stale-page: pages whose loss the guest can notice
  std::int64_t delay_ns = 0;        ///< of blackout-delay and fault-delay
};

/// Chooses by the guest's seed what a planted fault hits, among data pages whose damage the guest
/// can notice. Requires: `config` names its kind. Errors: kInvalidArgument.
Result<Plant> plan_plant(const vmm::GuestConfig& config, const PlantedFault& planted);

}  // namespace godwit::app
