#include "faults/fault_service_base.h"

#include <algorithm>
#include <array>
#include <utility>

namespace godwit::uffd {

Status FaultServiceBase::arm() {
  for (std::size_t i = 0; i < memory_.regions.size(); ++i) {
    const auto& region = memory_.regions[i];
    auto status =
        uffd_->register_range(region.guest, region.page_count << kPageShift, registration_);
    if (!status) {
      (void)unregister_first(i);
      return status;
    }
  }
  return {};
}

Status FaultServiceBase::disarm() {
  return unregister_first(memory_.regions.size());
}

Result<std::size_t> FaultServiceBase::read(std::span<engine::PageFault> faults) {
  std::array<RawFault, kMaxFaultsPerRead> raw;
  GODWIT_TRY_ASSIGN(const auto count,
                    uffd_->read_faults(std::span(raw).first(std::min(raw.size(), faults.size()))));
  for (std::size_t i = 0; i < count; ++i) {
    const auto page = addresses_.find(raw[i].address);
    if (!page) {
      return fail(ErrorCode::kInternal, "read userfaultfd", "a fault outside the guest's memory");
    }
    faults[i] = {*page, raw[i].minor};
  }
  return count;
}

Status FaultServiceBase::unregister_first(std::size_t count) {
  // All of them, whatever one says: a region left behind would be a guest that hangs.
  Status first_error;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& region = memory_.regions[i];
    auto status = uffd_->unregister_range(region.guest, region.page_count << kPageShift);
    if (!status && first_error) {
      first_error = std::move(status);
    }
  }
  return first_error;
}

Result<engine::MapResult> FaultServiceBase::map(PageRun run) {
  GODWIT_TRY(check_held(memory_, run, "map"));
  engine::MapResult result;
  auto status = map_pages(run, result);
  if (result.already > 0) {
    // Once for all skipped pages, also after an error: what was skipped is mapped.
    GODWIT_TRY(uffd_->wake(memory_.page({run.region, run.first}), run.bytes()));
  }
  GODWIT_TRY(status);
  return result;
}

}  // namespace godwit::uffd
