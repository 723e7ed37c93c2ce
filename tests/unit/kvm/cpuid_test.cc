#include "cpuid.h"

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "uapi.h"

namespace godwit::kvm {
namespace {

std::vector<std::byte> cpuid_of(const std::vector<kvm_cpuid_entry2>& entries) {
  const uapi::CpuidHeader header{.count = static_cast<std::uint32_t>(entries.size())};
  std::vector<std::byte> bytes(sizeof header + entries.size() * sizeof(kvm_cpuid_entry2));
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!entries.empty()) {
    std::memcpy(
        bytes.data() + sizeof header, entries.data(), entries.size() * sizeof(kvm_cpuid_entry2));
  }
  return bytes;
}

kvm_cpuid_entry2 entry(std::uint32_t function,
                       std::uint32_t index,
                       const std::array<std::uint32_t, 4>& registers) {
  kvm_cpuid_entry2 out{};
  out.function = function;
  out.index = index;
  out.eax = registers[0];
  out.ebx = registers[1];
  out.ecx = registers[2];
  out.edx = registers[3];
  return out;
}

using Registers = std::array<std::uint32_t, 4>;

TEST(Cpuid, OnlyFeatureBitsThatTheHostLacksAreInTheWay) {
  const struct {
    const char* name;
    std::uint32_t function;
    std::uint32_t index;
    Registers wanted;
    Registers offered;
    const char* lacks;  ///< null: nothing
  } cases[] = {
      {"equal", 1, 0, {1, 2, 4, 8}, {1, 2, 4, 8}, nullptr},
      {"the host has more", 1, 0, {0, 0, 4, 8}, {0, 0, 7, 15}, nullptr},
      {"family and APIC id are no features", 1, 0, {9, 9, 0, 0}, {0, 0, 0, 0}, nullptr},
      {"ecx of leaf 1", 1, 0, {0, 0, 6, 0}, {0, 0, 2, 0}, "leaf 0x1.0 ecx bits 0x4"},
      {"ebx of leaf 7", 7, 0, {0, 3, 0, 0}, {0, 1, 0, 0}, "leaf 0x7.0 ebx bits 0x2"},
      {"the highest subleaf of 7 is no feature", 7, 0, {2, 0, 0, 0}, {0, 0, 0, 0}, nullptr},
      {"XCR0 of leaf 0xd", 0xD, 0, {7, 0, 0, 1}, {7, 0, 0, 0}, "leaf 0xd.0 edx bits 0x1"},
      {"edx of 0xd.1 is no feature", 0xD, 1, {1, 0, 0, 1}, {1, 0, 0, 0}, nullptr},
      {"extended leaf",
       0x80000001,
       0,
       {0, 0, 0, 0x100},
       {0, 0, 0, 0},
       "leaf 0x80000001.0 edx bits 0x100"},
      {"a leaf without features", 0x16, 0, {1, 1, 1, 1}, {0, 0, 0, 0}, nullptr},
  };
  for (const auto& one : cases) {
    const auto checked =
        check_cpuid_features(cpuid_of({entry(one.function, one.index, one.wanted)}),
                             cpuid_of({entry(one.function, one.index, one.offered)}));
    EXPECT_EQ(checked.has_value(), one.lacks == nullptr) << one.name;
    if (!checked && one.lacks != nullptr) {
      EXPECT_EQ(checked.error().code, ErrorCode::kRefused);
      EXPECT_NE(checked.error().message().find(one.lacks), std::string::npos)
          << one.name << ": " << checked.error().message();
    }
  }
}

TEST(Cpuid, LeafThatTheHostHasNotLacksEverything) {
  const auto wanted = cpuid_of({entry(7, 0, {0, 1, 0, 0})});
  EXPECT_FALSE(check_cpuid_features(wanted, cpuid_of({})));
  EXPECT_TRUE(check_cpuid_features(cpuid_of({}), wanted));
}

}  // namespace
}  // namespace godwit::kvm
