#pragma once

#include <sys/uio.h>

#include <memory>
#include <vector>

#include "godwit/engine/atomic_bitmap.h"
#include "godwit/engine/options.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/wire/checksum.h"
#include "godwit/wire/page_batch.h"

#include "books/page_scheduler.h"

namespace godwit::engine {

/// Builds the body of page frames: one object a frame that may be on its way, all memory allocated
/// at construction.
///
/// While the guest runs, pages are copied into the hot staging buffer and hashed there: hashing
/// guest memory and sending it later would send other bytes than were hashed. When the guest cannot
/// write any more they are sent from where they are. Thread: one at a time.
class BatchBuilder {
 public:
  BatchBuilder(const GuestMemory& memory, const SourceOptions& options);

  /// Fills the frame with the plan's pages. `live`: the guest may write meanwhile.
  void build(const PageBatchPlan& plan, wire::PagePhase phase, bool live);

  [[nodiscard]] std::span<const iovec> parts() const { return parts_; }
  [[nodiscard]] std::uint32_t body_length() const { return body_length_; }
  [[nodiscard]] std::uint64_t body_hash() const { return body_hash_; }  ///< 0 without checksums
  [[nodiscard]] std::uint32_t data_pages() const { return data_pages_; }
  [[nodiscard]] std::uint32_t zero_pages() const { return zero_pages_; }
  [[nodiscard]] const PageBatchPlan& plan() const { return plan_; }
  /// Notes for every page of the frame whether it travels as a zero page.
  void note_zero_pages(RegionBitmaps& zero) const;

 private:
  void add_run(std::uint64_t page, wire::PageKind kind);

  const GuestMemory& memory_;
  const SourceOptions& options_;
  std::unique_ptr<std::byte[]> staging_;
  std::array<std::byte, wire::kMaxPagePrefix> prefix_{};
  std::vector<wire::PageBatchRun> runs_;
  std::vector<iovec> parts_;
  wire::BodyHasher hasher_;
  PageBatchPlan plan_;
  std::uint32_t body_length_ = 0;
  std::uint64_t body_hash_ = 0;
  std::uint32_t data_pages_ = 0;
  std::uint32_t zero_pages_ = 0;
};

}  // namespace godwit::engine
