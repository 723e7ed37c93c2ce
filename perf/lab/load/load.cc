#include "load/load.h"

#include <utility>

namespace godwit::lab {

Result<Load> Load::start(const LoadSpec& spec, std::int64_t longest_ns) {
  Load load;
  if (spec.quota_percent != 0) {
    GODWIT_TRY_ASSIGN(auto group, CpuGroup::create(spec.quota_percent, cgroup_places_here()));
    load.group_.emplace(std::move(group));
  }
  if (spec.busy != 0) {
    GODWIT_TRY_ASSIGN(auto loops, BusyLoops::start(spec.busy, longest_ns));
    load.loops_.emplace(std::move(loops));
  }
  return load;
}

std::string Load::broken_reason() const {
  return loops_ && !loops_->alive() ? "a busy loop ended before the run (its time was over, or "
                                      "nice 0 is refused to this user)"
                                    : "";
}

Json Load::seen() const {
  auto json = Json::object();
  if (loops_) {
    json["busy_cpu_ns"] = loops_->cpu_ns();
  }
  if (group_) {
    const auto counts = group_->counts();
    json["periods"] = counts.periods;
    json["throttled_periods"] = counts.throttled;
    json["throttled_ns"] = counts.throttled_ns;
  }
  return json;
}

std::string load_unusable_reason(const LoadSpec& spec) {
  constexpr std::int64_t kMomentNs = 1'000'000'000;
  const auto load = Load::start(spec, kMomentNs);
  return load ? std::string() : load.error().message();
}

}  // namespace godwit::lab
