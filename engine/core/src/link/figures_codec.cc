#include "link/figures_codec.h"

#include <algorithm>
#include <cstdint>

#include <nlohmann/json.hpp>

namespace godwit::engine {
namespace {

constexpr std::int64_t kTimeMaxNs = INT64_MAX / 16;

}  // namespace

std::vector<std::byte> encode_figures(const TargetFigures& figures) {
  nlohmann::json json;
  json["fault_buckets"] = figures.faults.buckets();
  json["fault_max_ns"] = figures.faults.max();
  json["installed"] = figures.installed;
  json["overtaken"] = figures.overtaken;
  json["scheduling_degraded"] = figures.scheduling_degraded ? 1 : 0;
  json["retracted"] = figures.retracted;
  json["retracted_at_switch"] = figures.retracted_at_switch;
  json["cpu_ns"] = figures.cpu_ns;
  json["first_run_ns"] = figures.first_run_ns;
  json["run_ended_ns"] = figures.run_ended_ns;
  json["load_ns"] = figures.load_ns;
  json["resume_ns"] = figures.resume_ns;
  json["prealloc_ns"] = figures.prealloc_ns;
  json["placement"] = figures.placement;
  json["boot_id"] = figures.boot_id;
  const auto text = json.dump();
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

Result<TargetFigures> decode_figures(std::span<const std::byte> bytes) {
  const auto* first = reinterpret_cast<const char*>(bytes.data());
  const auto json = nlohmann::json::parse(first, first + bytes.size(), nullptr, false);
  TargetFigures figures;
  if (!json.is_object()) {
    return fail(ErrorCode::kProtocol, "complete", "the target's figures are no JSON object");
  }
  const auto number = [&](const char* name) -> std::int64_t {
    const auto found = json.find(name);
    return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
  };
  // Sums of a few of them stay in range, whatever the peer says.
  const auto time = [&](const char* name) {
    return std::clamp<std::int64_t>(number(name), 0, kTimeMaxNs);
  };
  const auto text = [&](const char* name) -> std::string {
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (const auto found = json.find("fault_buckets"); found != json.end() && found->is_array()) {
    for (const auto& bucket : *found) {
      if (bucket.is_array() && bucket.size() == 2 && bucket[0].is_number_unsigned() &&
          bucket[1].is_number_unsigned()) {
        figures.faults.add_bucket(bucket[0].get<std::uint32_t>(), bucket[1].get<std::uint64_t>());
      }
    }
  }
  figures.faults.raise_max(static_cast<std::uint64_t>(number("fault_max_ns")));
  figures.installed = static_cast<std::uint64_t>(number("installed"));
  figures.overtaken = static_cast<std::uint64_t>(number("overtaken"));
  figures.scheduling_degraded = number("scheduling_degraded") != 0;
  figures.retracted = static_cast<std::uint64_t>(number("retracted"));
  figures.retracted_at_switch = static_cast<std::uint64_t>(number("retracted_at_switch"));
  figures.cpu_ns = time("cpu_ns");
  figures.first_run_ns = time("first_run_ns");
  figures.run_ended_ns = time("run_ended_ns");
  figures.load_ns = time("load_ns");
  figures.resume_ns = time("resume_ns");
  figures.prealloc_ns = time("prealloc_ns");
  figures.placement = text("placement");
  figures.boot_id = text("boot_id");
  return figures;
}

}  // namespace godwit::engine
