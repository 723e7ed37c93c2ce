#include "qemu/guest_options.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/units.h"

namespace godwit::lab {
namespace {

constexpr std::uint64_t kWorkingSetDefault = 256 * kMiB;

tl::unexpected<Error> wrong(const std::string& text) {
  return fail(ErrorCode::kInvalidArgument, "options", text);
}

/// A number and its unit.
template <std::size_t N>
Result<std::uint64_t> number_of(
    const Json& value, const std::array<std::pair<std::string_view, std::uint64_t>, N>& units) {
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>();
  }
  const auto text = plain_text(value);
  std::uint64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  const std::string_view unit(parsed.ptr, static_cast<std::size_t>(end - parsed.ptr));
  for (const auto& [name, factor] : units) {
    if (parsed.ec == std::errc() && unit == name && number <= UINT64_MAX / factor) {
      return number * factor;
    }
  }
  return wrong(fmt::format("'{}' is no such value", text));
}

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> kSizes{
    {{"", 1}, {"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}, {"TiB", kGiB << 10}}};
constexpr std::array<std::pair<std::string_view, std::uint64_t>, 3> kTimes{
    {{"us", 1000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}};

Status take_time(const Json& options, const char* name, std::int64_t& into) {
  if (const auto found = options.find(name); found != options.end()) {
    GODWIT_TRY_ASSIGN(const auto value, number_of(*found, kTimes));
    into = static_cast<std::int64_t>(value);
  }
  return {};
}

template <typename Number>
Status take_size(const Json& options, const char* name, Number& into) {
  if (const auto found = options.find(name); found != options.end()) {
    GODWIT_TRY_ASSIGN(const auto value, number_of(*found, kSizes));
    into = static_cast<Number>(value);
  }
  return {};
}

Status take_names(const Json& options, vmm::GuestConfig& guest) {
  if (const auto name = text_at(options, "/workload"); !name.empty()) {
    const auto workload = vmm::parse_workload(name);
    if (!workload) {
      return wrong(fmt::format("there is no workload '{}'", name));
    }
    guest.workload = *workload;
  }
  if (const auto name = text_at(options, "/fill"); !name.empty()) {
    const auto fill = vmm::parse_fill(name);
    if (!fill) {
      return wrong(fmt::format("there is no fill '{}'", name));
    }
    guest.fill = *fill;
  }
  return {};
}

}  // namespace

Result<std::uint64_t> size_of(const Json& value) {
  return number_of(value, kSizes);
}

Result<GuestOptions> guest_options(const Point& point) {
  const auto& options = point.options;
  if (options.contains("inject")) {
    return fail(ErrorCode::kUnsupported, "options", "faults are planted in godwit only");
  }
  if (text_at(options, "/guest") == "process") {
    return fail(ErrorCode::kUnsupported, "options", "only a KVM guest can be compared");
  }
  GuestOptions out;
  auto& guest = out.guest;
  guest.kind = vmm::GuestKind::kKvm;
  GODWIT_TRY(take_size(options, "memory", guest.memory_bytes));
  guest.populated_bytes = guest.memory_bytes;
  GODWIT_TRY(take_size(options, "populated", guest.populated_bytes));
  guest.working_set_bytes = std::min(kWorkingSetDefault, guest.populated_bytes / 2);
  GODWIT_TRY(take_size(options, "working_set", guest.working_set_bytes));
  GODWIT_TRY(take_size(options, "vcpus", guest.vcpus));
  GODWIT_TRY(take_size(options, "rate", guest.rate_bytes_per_s));
  GODWIT_TRY(take_size(options, "seed", guest.seed));
  GODWIT_TRY(take_names(options, guest));
  if (guest.vcpus != 1) {
    return fail(ErrorCode::kUnsupported,
                "options",
                fmt::format("the payload for a peer has one vCPU, the scenario {}", guest.vcpus));
  }
  GODWIT_TRY(vmm::validate(guest));
  const auto flag = [&](const char* name) {
    const auto found = options.find(name);
    return found != options.end() && found->is_boolean() && found->get<bool>();
  };
  out.prealloc = flag("prealloc");
  out.timeline = flag("timeline");
  GODWIT_TRY(take_size(options, "max_bandwidth", out.max_bandwidth));
  GODWIT_TRY(take_time(options, "downtime_limit", out.downtime_limit_ns));
  GODWIT_TRY(take_size(options, "switch_after_rounds", out.switch_after_rounds));
  if (const auto mode = text_at(options, "/mode"); mode == "postcopy") {
    out.switch_after_rounds = 0;
  }
  if (const auto name = text_at(options, "/congestion"); !name.empty()) {
    out.congestion = name;
  }
  return out;
}

}  // namespace godwit::lab
