#pragma once

#include <atomic>
#include <memory>

#include "godwit/base/histogram.h"
#include "godwit/engine/options.h"
#include "godwit/engine/page_states.h"
#include "godwit/engine/ports.h"
#include "godwit/wire/page_batch.h"

#include "open_faults.h"

namespace godwit::engine {

/// What the bulk and the urgent thread of the target share: places received pages, each exactly
/// once, and maps them when the guest runs here. Thread: any; see PageStates.
class TargetPlane {
 public:
  TargetPlane(TargetHost::Machine& machine,
              std::unique_ptr<PageStates> states,
              const Injection& injection)
      : machine_(machine), states_(std::move(states)), injection_(injection) {}

  /// Pages of a received frame. `owner` is the thread's; its fault latencies go to `latencies`.
  /// Errors: kProtocol when the frame does not belong to this phase or names pages outside memory.
  Status receive(const wire::PageBatchView& batch, PageOwner owner, Histogram& latencies);
  /// A fault whose page is valid: map it with its valid neighbours and wake.
  Status map_around(PageId page);
  /// Maps a run of valid pages that the guest has not touched yet; false when there is none left.
  Result<bool> sweep_some();

  /// From here on (final sync taken) frames of pre-copy are illegal and installed pages are
  /// counted.
  void switch_over() {
    installed_before_ = states_->installed();
    switched_.store(true, std::memory_order_release);
  }
  [[nodiscard]] bool switched() const { return switched_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t installed_after_switch() const {
    return states_->installed() - installed_before_;
  }
  [[nodiscard]] std::uint64_t overtaken() const {
    return overtaken_.load(std::memory_order_relaxed);
  }
  PageStates& states() { return *states_; }
  OpenFaults& open_faults() { return open_faults_; }

 private:
  Status receive_run(const wire::PageBatchView& batch,
                     std::size_t index,
                     PageOwner owner,
                     Histogram& latencies);
  Status install(
      PageRun run, const std::byte* data, bool backed, PageOwner owner, Histogram& latencies);

  TargetHost::Machine& machine_;
  std::unique_ptr<PageStates> states_;
  const Injection& injection_;
  OpenFaults open_faults_;
  std::atomic<bool> switched_{false};
  std::atomic<std::uint64_t> overtaken_{0};
  std::uint64_t installed_before_ = 0;
  RegionIndex sweep_region_ = 0;
  std::uint64_t sweep_page_ = 0;
};

}  // namespace godwit::engine
