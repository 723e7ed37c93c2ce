#pragma once

#include <cerrno>
#include <cstdint>

#include <fmt/format.h>

#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/uffd/uffd.h"

namespace godwit::uffd {

/// Fills the pages of a run by `fill(page, rest of the run in pages)`; returns how many of them
/// were there already.
template <typename Fill>
Result<std::uint64_t> fill_run(PageRun run, const char* operation, Fill&& fill) {
  std::uint64_t already = 0;
  for (auto at = run.first; at < run.end();) {
    const Progress progress = fill(at, run.end() - at);
    at += progress.bytes >> kPageShift;
    switch (progress.sys_errno) {
      case 0:
      case EAGAIN:
        break;
      case EEXIST:
        ++already;
        ++at;
        break;
      case ENOENT:
        return fail(
            ErrorCode::kState, operation, "guest memory is not registered; call arm() first");
      default:
        return fail_errno(progress.sys_errno,
                          operation,
                          fmt::format("region {} page {} of guest memory", run.region, at));
    }
  }
  return already;
}

}  // namespace godwit::uffd
