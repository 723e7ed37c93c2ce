#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "godwit/base/units.h"
#include "godwit/vmm/guest.h"

#include "kvm/state_codec.h"
#include "workload/workload_plan.h"

namespace godwit::vmm {
namespace {

/// Version 1 had no backing: all memory was a memfd.
constexpr std::uint32_t kConfigVersion = 2;
constexpr std::uint32_t kFlagSkipRegister = 1;
constexpr std::uint64_t kTwoRegionsFrom = 2 * kGiB;
constexpr std::uint64_t kSecondRegionGpaMin = 4 * kGiB;
constexpr std::uint64_t kRegionGranule = 2 * kMiB;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t granule) {
  return (value + granule - 1) / granule * granule;
}

/// `field`: of GuestConfig.
tl::unexpected<Error> invalid(const char* field, std::string detail) {
  return fail(ErrorCode::kInvalidArgument, field, std::move(detail));
}

/// Of the guest's page tables: a page a GiB, as far as it ever touches memory.
std::uint64_t table_bytes(const GuestConfig& config) {
  const auto pages = std::max(kPageBytes, config.populated_bytes) >> kPageShift;
  const auto span = gpa_of_page(region_layout(config.memory_bytes), pages - 1) + kPageBytes;
  return span / kGiB * kPageBytes;  // the first one is in the minimum
}

template <typename E, std::size_t kCount>
Status check_known(const char* field, E value, const Names<E, kCount>& names) {
  for (const auto& entry : names.entries()) {
    if (entry.value == value) {
      return {};
    }
  }
  return invalid(
      field,
      fmt::format(
          "{} is unknown; there are {}", static_cast<std::uint32_t>(value), names.choices()));
}

}  // namespace

std::string_view workload_name(Workload workload) {
  return kWorkloadNames.name_of(workload);
}

std::optional<Workload> parse_workload(std::string_view name) {
  return kWorkloadNames.parse(name);
}

std::string_view fill_name(Fill fill) {
  return kFillNames.name_of(fill);
}

std::optional<Fill> parse_fill(std::string_view name) {
  return kFillNames.parse(name);
}

std::string_view backing_name(Backing backing) {
  return kBackingNames.name_of(backing);
}

std::optional<Backing> parse_backing(std::string_view name) {
  return kBackingNames.parse(name);
}

std::string_view kind_name(GuestKind kind) {
  return kGuestKindNames.name_of(kind);
}

Status validate(const GuestConfig& config) {
  GODWIT_TRY(check_known("kind", config.kind, kGuestKindNames));
  GODWIT_TRY(check_known("workload", config.workload, kWorkloadNames));
  GODWIT_TRY(check_known("fill", config.fill, kFillNames));
  GODWIT_TRY(check_known("backing", config.backing, kBackingNames));
  if (config.vcpus < 1 || config.vcpus > kVcpusMax) {
    return invalid("vcpus", fmt::format("{}; 1 to {} are possible", config.vcpus, kVcpusMax));
  }
  if (config.memory_bytes < kMemoryBytesMin || config.memory_bytes > kMemoryBytesMax) {
    return invalid("memory_bytes",
                   fmt::format("{} bytes; {} to {} are possible",
                               config.memory_bytes,
                               kMemoryBytesMin,
                               kMemoryBytesMax));
  }
  if (config.memory_bytes % kRegionGranule != 0) {
    return invalid("memory_bytes",
                   fmt::format("{} bytes; it must be a multiple of 2 MiB", config.memory_bytes));
  }
  if (config.populated_bytes > config.memory_bytes) {
    return invalid(
        "populated_bytes",
        fmt::format(
            "{} bytes, more than memory_bytes ({})", config.populated_bytes, config.memory_bytes));
  }
  if (config.populated_bytes > kPopulatedBytesMax) {
    return invalid(
        "populated_bytes",
        fmt::format(
            "{} bytes; {} at most are possible", config.populated_bytes, kPopulatedBytesMax));
  }
  if (config.populated_bytes % kPageBytes != 0) {
    return invalid("populated_bytes",
                   fmt::format("{} bytes; it must be a multiple of 4 KiB", config.populated_bytes));
  }
  // The guest's own pages come first: code, page tables, stacks, blocks, generation table.
  const auto populated_min =
      kPopulatedBytesMin + table_bytes(config) + config.vcpus * kPopulatedBytesVcpu;
  if (config.populated_bytes < populated_min) {
    return invalid("populated_bytes",
                   fmt::format("{} bytes; this guest needs at least {} for itself",
                               config.populated_bytes,
                               populated_min));
  }
  if (config.working_set_bytes > config.populated_bytes) {
    return invalid("working_set_bytes",
                   fmt::format("{} bytes, more than populated_bytes ({})",
                               config.working_set_bytes,
                               config.populated_bytes));
  }
  if (config.working_set_bytes < config.vcpus * kPageBytes) {
    return invalid("working_set_bytes",
                   fmt::format("{} bytes; {} vCPUs need a page of 4 KiB each",
                               config.working_set_bytes,
                               config.vcpus));
  }
  return {};
}

engine::StateSection encode_config(const GuestConfig& config) {
  StateWriter out;
  out.u32(static_cast<std::uint32_t>(config.kind));
  out.u32(static_cast<std::uint32_t>(config.workload));
  out.u32(static_cast<std::uint32_t>(config.fill));
  out.u32(config.vcpus);
  out.u64(config.memory_bytes);
  out.u64(config.populated_bytes);
  out.u64(config.working_set_bytes);
  out.u64(config.rate_bytes_per_s);
  out.u64(config.seed);
  out.u32(config.skip_register ? kFlagSkipRegister : 0);
  out.u32(static_cast<std::uint32_t>(config.backing));
  engine::StateSection section;
  section.name = kConfigSection;
  section.version = kConfigVersion;
  section.payload = out.take();
  return section;
}

Result<GuestConfig> decode_config(const engine::StateSection& section) {
  constexpr const char* kOperation = "decode guest configuration";
  if (section.name != kConfigSection) {
    return fail(ErrorCode::kProtocol,
                kOperation,
                fmt::format("section '{}' is no configuration", section.name));
  }
  if (section.version < 1 || section.version > kConfigVersion || section.instance != 0) {
    return fail(ErrorCode::kVersion,
                kOperation,
                fmt::format("version {} instance {}; this side knows versions up to {}, instance 0",
                            section.version,
                            section.instance,
                            kConfigVersion));
  }
  StateReader in(section.payload);
  const auto kind = in.u32();
  const auto workload = in.u32();
  const auto fill = in.u32();
  GuestConfig config;
  config.vcpus = in.u32();
  config.memory_bytes = in.u64();
  config.populated_bytes = in.u64();
  config.working_set_bytes = in.u64();
  config.rate_bytes_per_s = in.u64();
  config.seed = in.u64();
  const auto flags = in.u32();
  const auto backing =
      section.version >= 2 ? in.u32() : static_cast<std::uint32_t>(Backing::kMemfd);
  if (!in.done()) {
    return fail(ErrorCode::kProtocol,
                kOperation,
                fmt::format("{} bytes is the wrong size", section.payload.size()));
  }
  // Checked before the casts: a value that the enum's byte cannot hold must not wrap into a legal
  // one.
  if (kind > UINT8_MAX || workload > UINT8_MAX || fill > UINT8_MAX || backing > UINT8_MAX ||
      (flags & ~kFlagSkipRegister) != 0) {
    return fail(ErrorCode::kProtocol, kOperation, "a field is outside its range");
  }
  config.kind = static_cast<GuestKind>(kind);
  config.workload = static_cast<Workload>(workload);
  config.fill = static_cast<Fill>(fill);
  config.backing = static_cast<Backing>(backing);
  config.skip_register = (flags & kFlagSkipRegister) != 0;
  GODWIT_TRY(validate(config));
  return config;
}

std::vector<engine::MachineDescription::Region> region_layout(std::uint64_t memory_bytes) {
  using Region = engine::MachineDescription::Region;
  if (memory_bytes < kTwoRegionsFrom) {
    return {Region{0, memory_bytes / kPageBytes}};
  }
  const auto first = round_up(memory_bytes / 2, kRegionGranule);
  const auto second_gpa = std::max(kSecondRegionGpaMin, round_up(first, kGiB));
  return {Region{0, first / kPageBytes}, Region{second_gpa, (memory_bytes - first) / kPageBytes}};
}

}  // namespace godwit::vmm
