#pragma once

#include <cerrno>
#include <cstdint>

#include <fmt/format.h>

#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/engine/ports/placing.h"
#include "godwit/uffd/uffd.h"

// Filling page tables through a userfaultfd, while others do the same.
//
// UFFDIO_CONTINUE, UFFDIO_ZEROPAGE and UFFDIO_COPY take a whole run and stop at the first page that
// they cannot do. What they then say is not an error but the state of that page:
//
//   EAGAIN  Some pages of the run are done; the count says how many. The kernel reports a partial
//           run this way and keeps the reason to itself, so the rest is asked for again, and now
//           the reason comes for its first page.
//   EEXIST  The page is mapped: by another thread's overlapping run, or before. It is skipped. The
//           caller wakes its waiters nevertheless: whoever mapped it woke those that were queued
//           then. One wake too many is harmless; one too few is a guest that hangs.
//   EFAULT  UFFDIO_CONTINUE: the file has a hole there, a page that is valid and zero, never
//           written. The caller fills it, and the page is asked for again.
//   ENOENT  Nothing is registered there.
//
// Every turn moves on, by pages or from "hole" to "exists", unless somebody takes pages out of the
// file meanwhile, which the owner of the memory must not do. The caller is told how often in a row
// one page was a hole, so that even then the urgent thread gets an error and not an endless loop.

namespace godwit::uffd {

inline tl::unexpected<Error> refused_at(int sys_errno,
                                        const char* operation,
                                        RegionIndex region,
                                        std::uint64_t page) {
  return fail_errno(
      sys_errno, operation, fmt::format("region {} page {} of guest memory", region, page));
}

/// Fills a run, in pages that are mapped `block_pages` at a time, and counts in `result`.
/// `fill(page, pages)` is the system call; returns a Progress.
/// `fill_hole(page, turn)` fills the hole at `page`, for the turn'th time in a row; returns how
/// many pages it has mapped itself, or an error. Errors: kState when nothing is registered, those
/// of `fill_hole`, and what else the kernel refuses, with region and page.
template <typename Fill, typename FillHole>
Status fill_run(PageRun run,
                std::uint64_t block_pages,
                const char* operation,
                engine::MapResult& result,
                Fill&& fill,
                FillHole&& fill_hole) {
  std::uint64_t hole = UINT64_MAX;
  int turn = 0;
  for (auto at = run.first; at < run.end();) {
    const Progress progress = fill(at, run.end() - at);
    const auto done = progress.bytes >> kPageShift;
    result.mapped += done;
    at += done;
    switch (progress.sys_errno) {
      case 0:
      case EAGAIN:
        break;
      case EEXIST:
        result.already += block_pages;
        at += block_pages;
        break;
      case EFAULT: {
        turn = at == hole ? turn + 1 : 1;
        hole = at;
        GODWIT_TRY_ASSIGN(const std::uint64_t filled, fill_hole(at, turn));
        result.mapped += filled;
        at += filled;
        break;
      }
      case ENOENT:
        return fail(
            ErrorCode::kState, operation, "guest memory is not registered; call arm() first");
      default:
        return refused_at(progress.sys_errno, operation, run.region, at);
    }
  }
  return {};
}

/// The same by a call that knows no holes, page by page.
template <typename Fill>
Status fill_run(PageRun run, const char* operation, engine::MapResult& result, Fill&& fill) {
  return fill_run(run, 1, operation, result, fill, [&](std::uint64_t page, int /*turn*/) {
    return Result<std::uint64_t>(refused_at(EFAULT, operation, run.region, page));
  });
}

}  // namespace godwit::uffd
