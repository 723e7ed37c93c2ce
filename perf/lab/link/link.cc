#include "link/link.h"

#include <algorithm>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

constexpr const char* kDevice = "link0";
/// Up to here a core carries packets one by one with ease (170 000 a second).
constexpr std::uint64_t kSinglePacketsMax = 2'000'000'000;
constexpr std::uint64_t kBurstMin = 128 << 10;  ///< two of the kernel's largest packets

/// What tbf lets pass at once: 250 us of the rate keep a link busy between two of its timers.
std::uint64_t burst_bytes(std::uint64_t bits_per_s) {
  return std::max(kBurstMin, bits_per_s / 8 / 4000);
}

Status limit_rate(const LinkSpec& spec) {
  if (spec.bandwidth_bits_per_s == 0) {
    return {};
  }
  const auto burst = burst_bytes(spec.bandwidth_bits_per_s);
  return run_tool("tc",
                  {"qdisc",
                   "add",
                   "dev",
                   kDevice,
                   "root",
                   "tbf",
                   "rate",
                   fmt::format("{}bit", spec.bandwidth_bits_per_s),
                   "burst",
                   std::to_string(burst),
                   "limit",
                   std::to_string(burst + spec.buffer_bytes)});
}

}  // namespace

Result<Link> Link::create(const LinkSpec& spec, std::uint64_t seed) {
  GODWIT_TRY_ASSIGN(auto source, NetworkSite::create());
  GODWIT_TRY_ASSIGN(auto target, NetworkSite::create());
  Link link(spec, std::move(source), std::move(target));
  GODWIT_TRY(spec.emulated ? link.join_by_emulator(seed) : link.join_by_veth());
  return link;
}

Status Link::join_by_veth() {
  const auto made = source_.within([&]() -> Status {
    GODWIT_TRY(run_tool("ip",
                        {"link",
                         "add",
                         kDevice,
                         "type",
                         "veth",
                         "peer",
                         "name",
                         kDevice,
                         "netns",
                         target_.path()}));
    GODWIT_TRY(limit_rate(spec_));
    return bring_up(kDevice, kSourceAddress);
  });
  GODWIT_TRY(made);
  return target_.within([&]() -> Status {
    GODWIT_TRY(limit_rate(spec_));
    return bring_up(kDevice, kTargetAddress);
  });
}

Status Link::join_by_emulator(std::uint64_t seed) {
  // Where packets get lost one by one they have to travel so, and where a buffer is small.
  const auto rate = spec_.bandwidth_bits_per_s;
  const bool bundles = spec_.loss == 0 && (rate == 0 || rate > kSinglePacketsMax);
  LinkEnds ends;
  const auto join = [bundles](Fd& end, const char* address) -> Status {
    GODWIT_TRY_ASSIGN(end, make_tun(kDevice, bundles));
    return bring_up(kDevice, address);
  };
  GODWIT_TRY(source_.within([&] { return join(ends.source, kSourceAddress); }));
  GODWIT_TRY(target_.within([&] { return join(ends.target, kTargetAddress); }));
  GODWIT_TRY_ASSIGN(emulator_, LinkEmulator::start(std::move(ends), spec_, seed));
  return {};
}

std::vector<std::string> Link::demo_arguments() const {
  return {"--source-netns",
          source_.path(),
          "--target-netns",
          target_.path(),
          "--listen",
          fmt::format("tcp:{}:0", kTargetAddress)};
}

Json counts_json(const LinkCounts& counts) {
  return {{"delivered", counts.delivered},
          {"dropped", counts.dropped},
          {"lost", counts.lost},
          {"cut", counts.cut},
          {"refused", counts.refused}};
}

std::optional<LinkCounts> Link::counts() const {
  return emulator_ == nullptr ? std::nullopt : std::optional(emulator_->counts());
}

std::string link_unusable_reason(const LinkSpec& spec) {
  const auto link = Link::create(spec);
  return link ? std::string() : link.error().message();
}

}  // namespace godwit::lab
