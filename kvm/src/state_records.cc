#include "state_records.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include <fmt/format.h>

#include "cpuid.h"
#include "msrs.h"
#include "raw_bytes.h"
#include "tsc.h"
#include "uapi.h"

// What each record of a vCPU's state is, and the order in which they are put back: the table is at
// the end. The time stamp counter has an essay of its own in tsc.cc.

namespace godwit::kvm {
namespace {

using Record = VcpuState::Record;
using Bytes = StateRecord::Bytes;

constexpr std::uint32_t kMaxCpuidEntries = 1024;
constexpr std::size_t kMaxMsrs = 4096;
constexpr std::size_t kMinXsaveBytes = sizeof(uapi::XsaveArea);
constexpr std::size_t kMaxXsaveBytes = 64U << 10;

Status read_into(const Vcpu& vcpu, KvmCall call, std::size_t size, Bytes& bytes) {
  bytes.assign(size, std::byte{0});
  if (::ioctl(vcpu.fd(), call.request, bytes.data()) != 0) {
    return fail_errno(errno, call.name);
  }
  return {};
}

Status write_from(const Vcpu& vcpu, KvmCall call, const Bytes& bytes) {
  // Some of the kernel's headers call this argument writable; it only reads it.
  if (::ioctl(vcpu.fd(), call.request, bytes.data()) != 0) {
    return fail_errno(errno, call.name, "the target's KVM refuses the source's state");
  }
  return {};
}

// --------------------------------------------------------- records that are one kernel structure

Status get_plain(const StateRecord& row, const Vcpu& vcpu, const MsrPlan& /*plan*/, Bytes& bytes) {
  return read_into(vcpu, row.get_call, row.size.min, bytes);
}

Status set_plain(const StateRecord& row, Vcpu& vcpu, const Bytes& bytes, TscShift& /*shift*/) {
  return write_from(vcpu, row.set_call, bytes);
}

template <typename Structure>
constexpr StateRecord plain(Record record,
                            const char* name,
                            KvmCall get_call,
                            KvmCall set_call,
                            const char* (*flaw)(std::span<const std::byte>) = nullptr) {
  return {.record = record,
          .name = name,
          .size = {sizeof(Structure), sizeof(Structure)},
          .get_call = get_call,
          .set_call = set_call,
          .get = get_plain,
          .set = set_plain,
          .flaw = flaw};
}

// ------------------------------------------------------------------------------------------ CPUID

Status get_cpuid(const StateRecord& /*row*/,
                 const Vcpu& vcpu,
                 const MsrPlan& /*plan*/,
                 Bytes& bytes) {
  // The guest's own: after a migration not this host's, but that of the host where the guest was
  // born.
  bytes = vcpu.cpuid();
  return {};
}

Status set_cpuid(const StateRecord& /*row*/, Vcpu& vcpu, const Bytes& bytes, TscShift& /*shift*/) {
  return vcpu.set_cpuid(bytes);
}

const char* flaw_of_cpuid(std::span<const std::byte> bytes) {
  return load<uapi::CpuidHeader>(bytes).count ==
                 (bytes.size() - sizeof(uapi::CpuidHeader)) / sizeof(kvm_cpuid_entry2)
             ? nullptr
             : "CPUID count and length disagree";
}

Status check_cpuid(const StateRecord& /*row*/,
                   const Bytes& bytes,
                   const System& system,
                   const Vcpu& /*vcpu*/) {
  return check_cpuid_features(bytes, system.supported_cpuid());
}

// ------------------------------------------------------------------------------------------- XCRS

const char* flaw_of_xcrs(std::span<const std::byte> bytes) {
  return load<kvm_xcrs>(bytes).nr_xcrs > KVM_MAX_XCRS ? "has too many extended control registers"
                                                      : nullptr;
}

// ------------------------------------------------------------------------------------------ XSAVE

/// Size of the XSAVE area that KVM_GET_XSAVE2 fills for this machine.
std::size_t xsave_bytes(int vm_fd) {
  const int bytes = ::ioctl(vm_fd, KVM_CHECK_EXTENSION, uapi::kCapXsave2);
  return bytes > static_cast<int>(kMinXsaveBytes) ? static_cast<std::size_t>(bytes)
                                                  : kMinXsaveBytes;
}

Status get_xsave(const StateRecord& row, const Vcpu& vcpu, const MsrPlan& /*plan*/, Bytes& bytes) {
  const auto size = xsave_bytes(vcpu.vm_fd());
  const bool large = size > kMinXsaveBytes;
  return read_into(
      vcpu, large ? KvmCall{uapi::kGetXsave2, "KVM_GET_XSAVE2"} : row.get_call, size, bytes);
}

Status set_xsave(const StateRecord& row, Vcpu& vcpu, const Bytes& bytes, TscShift& /*shift*/) {
  // The kernel reads as many bytes as the target's area has, which may be more than the source's.
  auto area = bytes;
  area.resize(std::max(area.size(), xsave_bytes(vcpu.vm_fd())));
  return write_from(vcpu, row.set_call, area);
}

Status check_xsave(const StateRecord& row,
                   const Bytes& bytes,
                   const System& /*system*/,
                   const Vcpu& vcpu) {
  const auto here = xsave_bytes(vcpu.vm_fd());
  if (bytes.size() > here) {
    return fail(ErrorCode::kRefused,
                row.name,
                fmt::format("the guest's area has {} bytes, this host's {}", bytes.size(), here));
  }
  return {};
}

// ------------------------------------------------------------------------------------------- MSRS

Status get_msrs(const StateRecord& row, const Vcpu& vcpu, const MsrPlan& plan, Bytes& bytes) {
  GODWIT_TRY_ASSIGN(const auto msrs, read_msrs(vcpu, plan.saved));
  if (msrs.size() != plan.saved.size()) {
    return fail(ErrorCode::kIo,
                row.get_call.name,
                fmt::format("register {:#x} cannot be read any more", plan.saved[msrs.size()]));
  }
  for (const auto& msr : msrs) {
    append(bytes, msr);
  }
  return {};
}

Status set_msrs(const StateRecord& /*row*/, Vcpu& vcpu, const Bytes& bytes, TscShift& /*shift*/) {
  std::vector<MsrValue> msrs;
  for (std::size_t at = 0; at + sizeof(MsrValue) <= bytes.size(); at += sizeof(MsrValue)) {
    msrs.push_back(load<MsrValue>(bytes, at));
  }
  return restore_msrs(vcpu, msrs);
}

// -------------------------------------------------------------------------------------------- TSC

Status get_tsc(const StateRecord& /*row*/,
               const Vcpu& vcpu,
               const MsrPlan& /*plan*/,
               Bytes& bytes) {
  GODWIT_TRY_ASSIGN(const auto tsc, read_tsc(vcpu));
  append(bytes, tsc);
  return {};
}

Status set_tsc(const StateRecord& /*row*/, Vcpu& vcpu, const Bytes& bytes, TscShift& shift) {
  return restore_tsc(vcpu, load<TscRecord>(bytes), shift);
}

const char* flaw_of_tsc(std::span<const std::byte> bytes) {
  return load<TscRecord>(bytes).offset_known > 1 ? "has an impossible time stamp counter" : nullptr;
}

Status check_tsc(const StateRecord& row,
                 const Bytes& bytes,
                 const System& system,
                 const Vcpu& vcpu) {
  const auto tsc = load<TscRecord>(bytes);
  GODWIT_TRY_ASSIGN(const auto khz, vcpu.tsc_khz());
  if (!same_tsc_rate(khz, tsc.khz) && system.extension(KVM_CAP_TSC_CONTROL) == 0) {
    return fail(
        ErrorCode::kRefused,
        row.name,
        fmt::format(
            "the guest's time stamp counter runs at {} kHz, this host's at {} and cannot be scaled",
            tsc.khz,
            khz));
  }
  return {};
}

// ------------------------------------------------------------------------------------- the table

// The order of a restore
//
//   CPUID      first: the kernel checks everything after it against what the guest may have, and
//              refuses a new CPUID once the vCPU has run.
//   SREGS      mode, paging and segments: EFER and CR4 decide what the rest means (CR4.OSXSAVE
//              goes with XCR0).
//   REGS       after SREGS, before EVENTS: KVM_SET_REGS drops a pending exception.
//   XCRS       the components that the guest may use.
//   XSAVE      their content.
//   MSRS       only those that differ from the fresh vCPU's, so that read-only and unknown ones
//              need no list here. A register may depend on one that comes later in the kernel's
//              order, so refused ones are written a second time at the end.
//   TSC        after the MSRs: IA32_TSC_ADJUST is among them.
//   MP_STATE
//   DEBUGREGS
//   EVENTS     last: they hold what would be injected at the next entry, and must survive all the
//              others.
//
// A state is captured in the opposite order: KVM_GET_VCPU_EVENTS may settle what a pending
// exception leaves in CR2 and DR6, and KVM_GET_MP_STATE may move CS and RIP, so the registers are
// read after them.
constexpr std::array<StateRecord, VcpuState::kRecordKinds> kRecords{
    {{.record = Record::kCpuid,
      .name = "CPUID",
      .size = {sizeof(uapi::CpuidHeader),
               sizeof(uapi::CpuidHeader) + kMaxCpuidEntries * sizeof(kvm_cpuid_entry2),
               sizeof(kvm_cpuid_entry2)},
      .get = get_cpuid,
      .set = set_cpuid,
      .flaw = flaw_of_cpuid,
      .check = check_cpuid},
     plain<kvm_sregs2>(Record::kSregs,
                       "SREGS",
                       {KVM_GET_SREGS2, "KVM_GET_SREGS2"},
                       {KVM_SET_SREGS2, "KVM_SET_SREGS2"}),
     plain<kvm_regs>(
         Record::kRegs, "REGS", {KVM_GET_REGS, "KVM_GET_REGS"}, {KVM_SET_REGS, "KVM_SET_REGS"}),
     plain<kvm_xcrs>(Record::kXcrs,
                     "XCRS",
                     {KVM_GET_XCRS, "KVM_GET_XCRS"},
                     {KVM_SET_XCRS, "KVM_SET_XCRS"},
                     flaw_of_xcrs),
     {.record = Record::kXsave,
      .name = "XSAVE",
      .size = {kMinXsaveBytes, kMaxXsaveBytes},
      .get_call = {uapi::kGetXsave, "KVM_GET_XSAVE"},
      .set_call = {uapi::kSetXsave, "KVM_SET_XSAVE"},
      .get = get_xsave,
      .set = set_xsave,
      .check = check_xsave},
     {.record = Record::kMsrs,
      .name = "MSRS",
      .size = {0, kMaxMsrs * sizeof(MsrValue), sizeof(MsrValue)},
      .get_call = {uapi::kGetMsrs, "KVM_GET_MSRS"},
      .get = get_msrs,
      .set = set_msrs},
     {.record = Record::kTsc,
      .name = "TSC",
      .size = {sizeof(TscRecord), sizeof(TscRecord)},
      .get = get_tsc,
      .set = set_tsc,
      .flaw = flaw_of_tsc,
      .check = check_tsc},
     plain<kvm_mp_state>(Record::kMpState,
                         "MP_STATE",
                         {KVM_GET_MP_STATE, "KVM_GET_MP_STATE"},
                         {KVM_SET_MP_STATE, "KVM_SET_MP_STATE"}),
     plain<kvm_debugregs>(Record::kDebugRegs,
                          "DEBUGREGS",
                          {KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS"},
                          {KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS"}),
     plain<kvm_vcpu_events>(Record::kEvents,
                            "EVENTS",
                            {KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS"},
                            {KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS"})}};

constexpr bool each_once() {
  std::array<bool, kRecords.size()> seen{};
  for (const auto& row : kRecords) {
    seen[static_cast<std::size_t>(row.record) - 1] = true;
  }
  return std::all_of(seen.begin(), seen.end(), [](bool once) { return once; });
}
static_assert(each_once());

}  // namespace

std::span<const StateRecord> state_records() {
  return kRecords;
}

}  // namespace godwit::kvm
