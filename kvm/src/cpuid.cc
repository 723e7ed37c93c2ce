#include "cpuid.h"

#include <array>
#include <cstdint>

#include <fmt/format.h>

#include "raw_bytes.h"
#include "uapi.h"

namespace godwit::kvm {
namespace {

/// Leaves whose registers are feature bits: a bit of the source's that the target has not could
/// crash the guest.
struct FeatureLeaf {
  std::uint32_t function;
  std::uint32_t index;
};
constexpr FeatureLeaf kFeatureLeaves[] = {{1, 0}, {7, 0}, {0xD, 0}, {0xD, 1}, {0x80000001, 0}};

/// The feature bits of a leaf: eax, ebx, ecx, edx, with everything that is not a feature masked
/// out.
std::array<std::uint32_t, 4> features(std::span<const std::byte> cpuid, FeatureLeaf leaf) {
  for (std::size_t at = sizeof(uapi::CpuidHeader); at + sizeof(kvm_cpuid_entry2) <= cpuid.size();
       at += sizeof(kvm_cpuid_entry2)) {
    const auto entry = load<kvm_cpuid_entry2>(cpuid, at);
    if (entry.function != leaf.function || entry.index != leaf.index) {
      continue;
    }
    switch (leaf.function) {
      case 7:
        return {0, entry.ebx, entry.ecx, entry.edx};
      case 0xD:
        return {entry.eax, 0, 0, leaf.index == 0 ? entry.edx : 0};
      default:
        return {0, 0, entry.ecx, entry.edx};
    }
  }
  return {};
}

}  // namespace

Status check_cpuid_features(std::span<const std::byte> wanted, std::span<const std::byte> offered) {
  for (const auto leaf : kFeatureLeaves) {
    const auto want = features(wanted, leaf);
    const auto have = features(offered, leaf);
    for (std::size_t i = 0; i < want.size(); ++i) {
      if ((want[i] & ~have[i]) != 0) {
        constexpr const char* kNames[] = {"eax", "ebx", "ecx", "edx"};
        return fail(
            ErrorCode::kRefused,
            "CPUID",
            fmt::format(
                "the guest has CPU features that this host lacks: leaf {:#x}.{} {} bits {:#x}; "
                "migrate to a host with the same or a newer CPU",
                leaf.function,
                leaf.index,
                kNames[i],
                want[i] & ~have[i]));
      }
    }
  }
  return {};
}

}  // namespace godwit::kvm
