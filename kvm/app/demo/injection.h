#pragma once

#include <optional>

#include "godwit/vmm/guest.h"

#include "cli/choices.h"

namespace godwit::app {

/// Chooses by the guest's seed what a planted fault hits: data pages whose damage the guest can
/// notice. Pages that the workload does not rewrite come first, since a rewrite would heal the
/// damage before anybody looked. Requires: `config` names its kind. Errors: kInvalidArgument.
Result<engine::Injection> plan_injection(const vmm::GuestConfig& config, const PlantedFault& spec);

/// The number of `page` counted through all regions, as sweeps and guest errors name it.
std::uint64_t global_page(const vmm::GuestConfig& config, PageId page);

}  // namespace godwit::app
