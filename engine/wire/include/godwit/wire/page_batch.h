#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/wire/format.h"

namespace godwit::wire {

/// Pages first .. first+count-1 of the batch's region, with bytes or known to be zero.
struct PageBatchRun {
  std::uint64_t first = 0;
  std::uint32_t count = 0;
  PageKind kind = PageKind::kData;
  friend bool operator==(const PageBatchRun&, const PageBatchRun&) = default;
};

/// A decoded PAGES body. Ownership: points into the body; allocates nothing.
/// Guarantees: every run is non-empty and below kMaxPageIndex, and no page occurs twice. Whether
/// region and pages exist in this machine is the caller's to check.
class PageBatchView {
 public:
  [[nodiscard]] RegionIndex region() const { return region_; }
  [[nodiscard]] PagePhase phase() const { return phase_; }
  [[nodiscard]] std::span<const PageBatchRun> runs() const { return {runs_.data(), run_count_}; }
  [[nodiscard]] std::uint32_t data_pages() const { return data_pages_; }
  /// Pages of all runs, zero pages included.
  [[nodiscard]] std::uint64_t page_count() const;
  /// The bytes of run `i` (count * 4096 of them); null for a zero run.
  [[nodiscard]] const std::byte* data(std::size_t i) const {
    return runs_[i].kind == PageKind::kData ? data_ + data_offset_[i] : nullptr;
  }

 private:
  friend Result<PageBatchView> decode_page_batch(std::span<const std::byte> body,
                                                 std::span<const std::byte> placed);
  RegionIndex region_ = 0;
  PagePhase phase_ = PagePhase::kPrecopy;
  std::uint32_t run_count_ = 0;
  std::uint32_t data_pages_ = 0;
  const std::byte* data_ = nullptr;
  std::array<PageBatchRun, kMaxBatchRuns> runs_;
  std::array<std::uint32_t, kMaxBatchRuns> data_offset_;  ///< of each run in data_, bytes
};

/// `placed`: the page data where it lies elsewhere (FrameView::placed). Errors: kProtocol with the
/// reason. Cost: no allocation; touches the prefix only, never the page data.
[[nodiscard]] Result<PageBatchView> decode_page_batch(std::span<const std::byte> body,
                                                      std::span<const std::byte> placed = {});

/// What the shortest prefix (kMinPagePrefix bytes, not verified) says when the frame brings data for
/// one run of pages and nothing else. Absent: anything else, or damage.
struct SingleRun {
  RegionIndex region = 0;
  PagePhase phase = PagePhase::kPrecopy;
  PageBatchRun run;
};
[[nodiscard]] std::optional<SingleRun> single_run_of(std::span<const std::byte> prefix);

/// Writes everything of a PAGES body but the data and returns its length, a multiple of 64. The
/// data of the kData runs follows on the wire in run order. Requires: `out` holds
/// page_prefix_bytes(runs.size()); 1 .. kMaxBatchRuns runs, each non-empty, with at most
/// kMaxBatchPages data pages in all, no page twice.
[[nodiscard]] std::size_t encode_page_prefix(std::span<std::byte> out,
                                             RegionIndex region,
                                             PagePhase phase,
                                             std::span<const PageBatchRun> runs);

}  // namespace godwit::wire
