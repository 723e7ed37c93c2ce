#pragma once

#include <atomic>
#include <memory>
#include <span>

#include "godwit/engine/options.h"
#include "godwit/engine/ports/target_host.h"
#include "godwit/wire/page_batch.h"

#include "books/fault_log.h"
#include "books/open_faults.h"
#include "books/page_states.h"

namespace godwit::engine {

/// What the bulk and the urgent thread of the target share: places received pages, each exactly
/// once, and maps them when the guest runs here. Thread: any; see PageStates.
class TargetPlane {
 public:
  TargetPlane(TargetHost::Machine& machine, std::unique_ptr<PageStates> states)
      : machine_(machine), states_(std::move(states)) {}

  /// Pages of a received frame. `owner` is the thread's; the faults that it answers go to `log`.
  /// Errors: kProtocol when the frame does not belong to this phase or names pages outside memory.
  Status receive(const wire::PageBatchView& batch, PageOwner owner, FaultLog& log);
  /// Where the data of a pre-copy frame, of which only the prefix has come, may be received: right
  /// where it stays, when the frame brings one run of absent pages and the placer allows it. Empty:
  /// into a buffer, for receive(). A frame that then fails leaves its pages absent, and the guest
  /// does not run here yet.
  [[nodiscard]] std::span<std::byte> place_of(std::span<const std::byte> prefix) const;
  /// The source's copies of these pages are newer: they are absent from here on, and out of the
  /// guest's page table. `at_switch`: announced behind the barrier, so that its cost may lie inside
  /// the blackout. Errors: kProtocol after the final sync, or when a page cannot become old.
  Status announce(std::span<const PageRun> runs, bool at_switch);
  /// A fault whose page is valid: map it with its valid neighbours and wake.
  Status map_around(PageId page);
  /// A fault where pages are mapped in blocks: maps the page's block if all of it is valid,
  /// otherwise adds to `wanted` what of it nobody has asked for; its last page maps it.
  Status fault_on_block(PageId page,
                        std::int64_t read_ns,
                        std::vector<PageId>& wanted,
                        FaultLog& log);
  /// Maps a run of valid pages that the guest has not touched yet; false when there is none left.
  Result<bool> sweep_some();

  /// From here on (final sync taken) frames of pre-copy are illegal and installed pages are
  /// counted.
  void switch_over() {
    installed_before_ = states_->installed();
    switched_.store(true, std::memory_order_release);
  }
  [[nodiscard]] bool switched() const { return switched_.load(std::memory_order_acquire); }
  /// The blackout is over: mapping what is valid no longer takes processor and memory lock from it.
  void begin_sweep() { sweeps_.store(true, std::memory_order_release); }
  [[nodiscard]] bool sweeps() const { return sweeps_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t installed_after_switch() const {
    return states_->installed() - installed_before_;
  }
  Status prepare_guest() { return machine_.guest->prepare(); }
  /// Pages that were placed in vain: they became old and were taken out of the guest's page table.
  [[nodiscard]] std::uint64_t retracted() const {
    return retracted_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t retracted_at_switch() const {
    return retracted_at_switch_.load(std::memory_order_relaxed);
  }
  PageStates& states() { return *states_; }
  OpenFaults& open_faults() { return open_faults_; }

 private:
  Status receive_run(const wire::PageBatchView& batch,
                     std::size_t index,
                     PageOwner owner,
                     FaultLog& log);
  /// `data` may lie where it belongs already.
  Status place(PageRun run, const std::byte* data, bool backed);
  Status map_block(PageId page, FaultLog& log);
  Status install(PageRun run, const std::byte* data, bool backed, PageOwner owner, FaultLog& log);

  TargetHost::Machine& machine_;
  std::unique_ptr<PageStates> states_;
  OpenFaults open_faults_;
  std::atomic<bool> switched_{false};
  std::atomic<bool> sweeps_{false};
  std::atomic<std::uint64_t> retracted_{0};
  std::atomic<std::uint64_t> retracted_at_switch_{0};
  std::uint64_t installed_before_ = 0;
  RegionIndex sweep_region_ = 0;
  std::uint64_t sweep_page_ = 0;
};

}  // namespace godwit::engine
