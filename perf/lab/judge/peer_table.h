#pragma once

#include <string>
#include <vector>

#include "run/side.h"

namespace godwit::lab {

/// Medians of all sides, a line each, and in brackets what they are of the first's, under a
/// line that says so. Requires: at least one side.
std::string peer_table(const std::vector<Side>& sides, const Measured& measured);

}  // namespace godwit::lab
