#pragma once

#include "godwit/vmm/guest.h"

#include "cli/choices.h"

namespace godwit::app {

/// What a planted fault hits: chosen by the guest's seed among data pages whose damage the guest can
/// notice. Requires: `config` names its kind. Errors: kInvalidArgument.
Result<engine::Injection> plan_injection(const vmm::GuestConfig& config, const PlantedFault& spec);

}  // namespace godwit::app
