#pragma once

#include <span>
#include <string>
#include <vector>

#include "godwit/json/json.h"

namespace godwit::lab {

/// The figures of one run, as figures_of() gives them.
using Sample = Json;

/// The values of one figure over runs; runs without it are left out.
std::vector<double> values_of(std::span<const Sample> runs, const std::string& figure);

}  // namespace godwit::lab
