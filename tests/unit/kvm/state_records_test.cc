#include "state_records.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tsc.h"
#include "uapi.h"

namespace godwit::kvm {
namespace {

using Record = VcpuState::Record;

const StateRecord& row(Record record) {
  const auto rows = state_records();
  return *std::find_if(
      rows.begin(), rows.end(), [&](const auto& one) { return one.record == record; });
}

std::ptrdiff_t place(Record record) {
  return &row(record) - state_records().data();
}

TEST(StateRecords, EachIsThereOnceWithItsWays) {
  std::set<std::string> names;
  std::set<Record> records;
  for (const auto& one : state_records()) {
    names.insert(one.name);
    records.insert(one.record);
    EXPECT_NE(one.get, nullptr) << one.name;
    EXPECT_NE(one.set, nullptr) << one.name;
  }
  EXPECT_EQ(names.size(), VcpuState::kRecordKinds);
  EXPECT_EQ(records.size(), VcpuState::kRecordKinds);
}

TEST(StateRecords, StandInTheOrderThatARestoreNeeds) {
  EXPECT_EQ(place(Record::kCpuid), 0);
  EXPECT_EQ(place(Record::kEvents), std::ptrdiff_t{VcpuState::kRecordKinds} - 1);
  EXPECT_LT(place(Record::kSregs), place(Record::kRegs));
  EXPECT_LT(place(Record::kSregs), place(Record::kXcrs));
  EXPECT_LT(place(Record::kXcrs), place(Record::kXsave));
  EXPECT_LT(place(Record::kMsrs), place(Record::kTsc));
}

TEST(StateRecords, SizeRules) {
  const struct {
    Record record;
    std::vector<std::size_t> allowed;
    std::vector<std::size_t> refused;
  } cases[] = {
      {Record::kCpuid, {8, 48, 8 + 1024 * 40}, {0, 7, 9, 47, 8 + 1025 * 40}},
      {Record::kRegs, {sizeof(kvm_regs)}, {0, sizeof(kvm_regs) - 1, sizeof(kvm_regs) + 1}},
      {Record::kSregs, {sizeof(kvm_sregs2)}, {0, sizeof(kvm_sregs)}},
      {Record::kXsave, {4096, 4097, 65536}, {0, 4095, 65537}},
      {Record::kXcrs, {sizeof(kvm_xcrs)}, {0, sizeof(kvm_xcrs) + 1}},
      {Record::kMsrs, {0, 16, 65536}, {1, 15, 17, 65552}},
      {Record::kEvents, {sizeof(kvm_vcpu_events)}, {0, sizeof(kvm_vcpu_events) - 1}},
      {Record::kDebugRegs, {sizeof(kvm_debugregs)}, {0, sizeof(kvm_debugregs) + 8}},
      {Record::kMpState, {sizeof(kvm_mp_state)}, {0, sizeof(kvm_mp_state) + 1}},
      {Record::kTsc, {sizeof(TscRecord)}, {0, sizeof(TscRecord) - 1}},
  };
  EXPECT_EQ(std::size(cases), VcpuState::kRecordKinds);
  for (const auto& one : cases) {
    const auto& rule = row(one.record).size;
    for (const auto bytes : one.allowed) {
      EXPECT_TRUE(rule.allows(bytes)) << row(one.record).name << " " << bytes;
    }
    for (const auto bytes : one.refused) {
      EXPECT_FALSE(rule.allows(bytes)) << row(one.record).name << " " << bytes;
    }
  }
}

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
  std::vector<std::byte> bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

TEST(StateRecords, FlawsOfForeignBytes) {
  auto cpuid = bytes_of(uapi::CpuidHeader{.count = 1});
  EXPECT_STREQ(row(Record::kCpuid).flaw(cpuid), "CPUID count and length disagree");
  cpuid.resize(cpuid.size() + sizeof(kvm_cpuid_entry2));
  EXPECT_EQ(row(Record::kCpuid).flaw(cpuid), nullptr);

  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = KVM_MAX_XCRS;
  EXPECT_EQ(row(Record::kXcrs).flaw(bytes_of(xcrs)), nullptr);
  xcrs.nr_xcrs = KVM_MAX_XCRS + 1;
  EXPECT_STREQ(row(Record::kXcrs).flaw(bytes_of(xcrs)), "has too many extended control registers");

  TscRecord tsc{};
  tsc.offset_known = 1;
  EXPECT_EQ(row(Record::kTsc).flaw(bytes_of(tsc)), nullptr);
  tsc.offset_known = 2;
  EXPECT_STREQ(row(Record::kTsc).flaw(bytes_of(tsc)), "has an impossible time stamp counter");
}

}  // namespace
}  // namespace godwit::kvm
