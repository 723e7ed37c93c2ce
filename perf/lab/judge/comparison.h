#pragma once

#include <span>

#include "godwit/base/result.h"

#include "rows/results.h"
#include "rows/sample.h"
#include "run/side.h"

namespace godwit::lab {

/// A side and the figures of its runs.
struct ComparedSide {
  const Side* side;
  std::span<const Sample> samples;
};

/// Writes a row "comparison" and, unless rows go to stdout, prints it as a table. Errors: kIo.
Status write_comparison(const ComparedSide& a,
                        const ComparedSide& b,
                        double alpha,
                        Results& results);

}  // namespace godwit::lab
