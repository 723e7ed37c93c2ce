#pragma once

#include <cstdint>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/vmm/guest.h"

/// Pages whose damage the guest notices: what a test plants its faults in.
namespace godwit::vmm {

/// A data page, chosen by the guest's seed, that travels with bytes. One that the workload does not
/// rewrite, if there is one: a rewrite would heal the damage before anybody looked.
/// Requires: `config` names its kind. Errors: kInvalidArgument.
Result<PageId> page_to_damage(const GuestConfig& config);

/// The data pages that the workload rewrites: the loss of a newer version of one is noticed.
/// Requires: `config` names its kind. Errors: kInvalidArgument.
Result<std::vector<PageRun>> pages_to_lose(const GuestConfig& config);

/// The number of `page` counted through all regions, as sweeps and guest errors name it.
std::uint64_t global_page(const GuestConfig& config, PageId page);

}  // namespace godwit::vmm
