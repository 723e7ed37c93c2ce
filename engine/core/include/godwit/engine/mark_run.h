#pragma once

#include <algorithm>
#include <cstdint>

#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"

namespace godwit::engine {

/// Marks all pages of a run. Cost: one mark() in 64 pages.
inline void mark_run(DirtySink& sink, PageRun run) {
  for (auto page = run.first; page < run.end();) {
    const auto bit = page % 64;
    const auto count = std::min(64 - bit, run.end() - page);
    const auto bits = count == 64 ? ~0ULL : (1ULL << count) - 1;
    sink.mark(run.region, page / 64, bits << bit);
    page += count;
  }
}

/// Marks the pages of a run that were ever written, by asking `scan`.
/// `known`: what the last question found, for the next call: a stretch of such pages may be longer
/// than `pages`, and to find its end costs by its length. Starts as a run of no pages.
/// Guarantees: a page that was written before the call is marked. Errors: the scan's.
inline Status mark_populated(DirtySink& sink, PopulatedScan& scan, PageRun pages, PageRun& known) {
  for (auto page = pages.first; page < pages.end();) {
    if (known.region != pages.region || page < known.first || page >= known.end()) {
      GODWIT_TRY_ASSIGN(known, scan.next({pages.region, page, pages.end() - page}));
      if (known.count == 0 || known.first >= pages.end()) {
        break;
      }
    }
    const auto first = std::max(page, known.first);
    page = std::min(pages.end(), known.end());
    mark_run(sink, {pages.region, first, page - first});
  }
  return {};
}

}  // namespace godwit::engine
