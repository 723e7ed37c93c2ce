#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/engine/report.h"

namespace godwit::engine {

/// The target's figures as they travel in COMPLETE: JSON, so that later versions may add members.
std::vector<std::byte> encode_figures(const TargetFigures& figures);
Result<TargetFigures> decode_figures(std::span<const std::byte> bytes);

}  // namespace godwit::engine
