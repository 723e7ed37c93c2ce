#pragma once

#include <vector>

#include "godwit/base/result.h"

#include "rows/results.h"
#include "run/side.h"

namespace godwit::lab {

/// Medians of all sides beside each other, and in brackets what they are of the first's; unless
/// rows go to stdout.
Status write_peer_table(const std::vector<Side>& sides,
                        const Measured& measured,
                        const Results& results);

}  // namespace godwit::lab
