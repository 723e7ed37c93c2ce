#include "qemu/qemu_plan.h"

#include <algorithm>

namespace godwit::lab {
namespace {

constexpr std::uint64_t kUnlimitedBytesPerS = 1ULL << 40;

}  // namespace

bool QemuPlan::writes() const {
  const auto workload = options.guest.workload;
  return workload >= vmm::Workload::kSequentialWrite && workload <= vmm::Workload::kZipfWrite;
}

std::int64_t QemuPlan::downtime_limit_ms() const {
  return mode.postcopy ? 1 : std::max<std::int64_t>(options.downtime_limit_ns / 1'000'000, 1);
}

Json QemuPlan::parameters() const {
  const auto bandwidth = options.max_bandwidth != 0 ? options.max_bandwidth : kUnlimitedBytesPerS;
  Json parameters{{"max-bandwidth", bandwidth},
                  {"max-postcopy-bandwidth", options.max_bandwidth},
                  {"downtime-limit", downtime_limit_ms()}};
  if (mode.channels != 0) {
    parameters["multifd-channels"] = mode.channels;
  }
  return parameters;
}

Json QemuPlan::capabilities() const {
  auto capabilities = Json::array();
  for (const auto& name : mode.capabilities()) {
    capabilities.push_back({{"capability", name}, {"state", true}});
  }
  return Json::object({{"capabilities", capabilities}});
}

}  // namespace godwit::lab
