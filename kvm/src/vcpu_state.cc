#include "godwit/kvm/vcpu_state.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "cpuid.h"
#include "msrs.h"
#include "raw_bytes.h"
#include "tsc.h"
#include "uapi.h"

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
// The time stamp counter has an essay of its own in tsc.cc.

namespace godwit::kvm {
namespace {

constexpr std::uint32_t kMagic = 0x53435647;  // "GVCS"
constexpr std::uint16_t kVersion = 2;
constexpr std::uint32_t kMaxCpuidEntries = 1024;
constexpr std::size_t kMaxMsrs = 4096;
constexpr std::size_t kMinXsaveBytes = sizeof(uapi::XsaveArea);
constexpr std::size_t kMaxXsaveBytes = 64U << 10;

struct FileHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t records;
};
static_assert(sizeof(FileHeader) == 8);

struct RecordHeader {
  std::uint16_t kind;
  std::uint16_t reserved;
  std::uint32_t length;
};
static_assert(sizeof(RecordHeader) == 8);

Status get(const Vcpu& vcpu,
           unsigned long request,
           std::vector<std::byte>& bytes,
           std::size_t size,
           const char* name) {
  bytes.assign(size, std::byte{0});
  if (::ioctl(vcpu.fd(), request, bytes.data()) != 0) {
    return fail_errno(errno, name);
  }
  return {};
}

Status put(const Vcpu& vcpu,
           unsigned long request,
           const std::vector<std::byte>& bytes,
           const char* name) {
  // Some of the kernel's headers call this argument writable; it only reads it.
  if (::ioctl(vcpu.fd(), request, bytes.data()) != 0) {
    return fail_errno(errno, name, "the target's KVM refuses the source's state");
  }
  return {};
}

/// Size of the XSAVE area that KVM_GET_XSAVE2 fills for this machine.
std::size_t xsave_bytes(int vm_fd) {
  const int bytes = ::ioctl(vm_fd, KVM_CHECK_EXTENSION, uapi::kCapXsave2);
  return bytes > static_cast<int>(kMinXsaveBytes) ? static_cast<std::size_t>(bytes)
                                                  : kMinXsaveBytes;
}

bool right_size(VcpuState::Record kind, std::size_t bytes) {
  switch (kind) {
    case VcpuState::Record::kCpuid:
      return bytes >= sizeof(uapi::CpuidHeader) &&
             (bytes - sizeof(uapi::CpuidHeader)) % sizeof(kvm_cpuid_entry2) == 0 &&
             bytes <= sizeof(uapi::CpuidHeader) + kMaxCpuidEntries * sizeof(kvm_cpuid_entry2);
    case VcpuState::Record::kRegs:
      return bytes == sizeof(kvm_regs);
    case VcpuState::Record::kSregs:
      return bytes == sizeof(kvm_sregs2);
    case VcpuState::Record::kXsave:
      return bytes >= kMinXsaveBytes && bytes <= kMaxXsaveBytes;
    case VcpuState::Record::kXcrs:
      return bytes == sizeof(kvm_xcrs);
    case VcpuState::Record::kMsrs:
      return bytes % sizeof(MsrValue) == 0 && bytes <= kMaxMsrs * sizeof(MsrValue);
    case VcpuState::Record::kEvents:
      return bytes == sizeof(kvm_vcpu_events);
    case VcpuState::Record::kDebugRegs:
      return bytes == sizeof(kvm_debugregs);
    case VcpuState::Record::kMpState:
      return bytes == sizeof(kvm_mp_state);
    case VcpuState::Record::kTsc:
      return bytes == sizeof(TscRecord);
  }
  return false;
}

}  // namespace

Result<VcpuState> VcpuState::capture(const Vcpu& vcpu, const MsrPlan& plan) {
  VcpuState state;
  // The guest's own: after a migration not this host's, but that of the host where the guest was
  // born.
  state.record(Record::kCpuid) = vcpu.cpuid();
  GODWIT_TRY(
      get(vcpu, KVM_GET_REGS, state.record(Record::kRegs), sizeof(kvm_regs), "KVM_GET_REGS"));
  GODWIT_TRY(get(
      vcpu, KVM_GET_SREGS2, state.record(Record::kSregs), sizeof(kvm_sregs2), "KVM_GET_SREGS2"));
  const auto bytes = xsave_bytes(vcpu.vm_fd());
  const bool large = bytes > kMinXsaveBytes;
  GODWIT_TRY(get(vcpu,
                 large ? uapi::kGetXsave2 : uapi::kGetXsave,
                 state.record(Record::kXsave),
                 bytes,
                 large ? "KVM_GET_XSAVE2" : "KVM_GET_XSAVE"));
  GODWIT_TRY(
      get(vcpu, KVM_GET_XCRS, state.record(Record::kXcrs), sizeof(kvm_xcrs), "KVM_GET_XCRS"));
  GODWIT_TRY(get(vcpu,
                 KVM_GET_VCPU_EVENTS,
                 state.record(Record::kEvents),
                 sizeof(kvm_vcpu_events),
                 "KVM_GET_VCPU_EVENTS"));
  GODWIT_TRY(get(vcpu,
                 KVM_GET_DEBUGREGS,
                 state.record(Record::kDebugRegs),
                 sizeof(kvm_debugregs),
                 "KVM_GET_DEBUGREGS"));
  GODWIT_TRY(get(vcpu,
                 KVM_GET_MP_STATE,
                 state.record(Record::kMpState),
                 sizeof(kvm_mp_state),
                 "KVM_GET_MP_STATE"));

  GODWIT_TRY_ASSIGN(const auto msrs, read_msrs(vcpu, plan.saved));
  if (msrs.size() != plan.saved.size()) {
    return fail(ErrorCode::kIo,
                "KVM_GET_MSRS",
                fmt::format("register {:#x} cannot be read any more", plan.saved[msrs.size()]));
  }
  for (const auto& msr : msrs) {
    append(state.record(Record::kMsrs), msr);
  }
  GODWIT_TRY_ASSIGN(const auto tsc, read_tsc(vcpu));
  append(state.record(Record::kTsc), tsc);
  return state;
}

Status VcpuState::check(const System& system, const Vcpu& vcpu) const {
  GODWIT_TRY(check_cpuid_features(record(Record::kCpuid), system.supported_cpuid()));
  if (record(Record::kXsave).size() > xsave_bytes(vcpu.vm_fd())) {
    return fail(ErrorCode::kRefused,
                "XSAVE",
                fmt::format("the guest's area has {} bytes, this host's {}",
                            record(Record::kXsave).size(),
                            xsave_bytes(vcpu.vm_fd())));
  }
  const auto tsc = load<TscRecord>(record(Record::kTsc));
  GODWIT_TRY_ASSIGN(const auto khz, vcpu.tsc_khz());
  if (!same_tsc_rate(khz, tsc.khz) && system.extension(KVM_CAP_TSC_CONTROL) == 0) {
    return fail(
        ErrorCode::kRefused,
        "TSC",
        fmt::format(
            "the guest's time stamp counter runs at {} kHz, this host's at {} and cannot be scaled",
            tsc.khz,
            khz));
  }
  return {};
}

Status VcpuState::restore(Vcpu& vcpu, TscShift& shift) const {
  GODWIT_TRY(vcpu.set_cpuid(record(Record::kCpuid)));
  GODWIT_TRY(put(vcpu, KVM_SET_SREGS2, record(Record::kSregs), "KVM_SET_SREGS2"));
  GODWIT_TRY(put(vcpu, KVM_SET_REGS, record(Record::kRegs), "KVM_SET_REGS"));
  GODWIT_TRY(put(vcpu, KVM_SET_XCRS, record(Record::kXcrs), "KVM_SET_XCRS"));
  // The kernel reads as many bytes as the target's area has, which may be more than the source's.
  auto xsave = record(Record::kXsave);
  xsave.resize(std::max(xsave.size(), xsave_bytes(vcpu.vm_fd())));
  GODWIT_TRY(put(vcpu, uapi::kSetXsave, xsave, "KVM_SET_XSAVE"));
  std::vector<MsrValue> msrs;
  const auto& bytes = record(Record::kMsrs);
  for (std::size_t at = 0; at + sizeof(MsrValue) <= bytes.size(); at += sizeof(MsrValue)) {
    msrs.push_back(load<MsrValue>(bytes, at));
  }
  GODWIT_TRY(restore_msrs(vcpu, msrs));
  GODWIT_TRY(restore_tsc(vcpu, load<TscRecord>(record(Record::kTsc)), shift));
  GODWIT_TRY(put(vcpu, KVM_SET_MP_STATE, record(Record::kMpState), "KVM_SET_MP_STATE"));
  GODWIT_TRY(put(vcpu, KVM_SET_DEBUGREGS, record(Record::kDebugRegs), "KVM_SET_DEBUGREGS"));
  return put(vcpu, KVM_SET_VCPU_EVENTS, record(Record::kEvents), "KVM_SET_VCPU_EVENTS");
}

std::vector<std::byte> VcpuState::encode() const {
  std::vector<std::byte> bytes;
  append(bytes, FileHeader{kMagic, kVersion, static_cast<std::uint16_t>(kRecordKinds)});
  for (std::size_t i = 0; i < kRecordKinds; ++i) {
    append(
        bytes,
        RecordHeader{
            static_cast<std::uint16_t>(i + 1), 0, static_cast<std::uint32_t>(records_[i].size())});
    bytes.insert(bytes.end(), records_[i].begin(), records_[i].end());
  }
  return bytes;
}

Result<VcpuState> VcpuState::decode(std::span<const std::byte> bytes) {
  const auto refuse = [](std::string why) {
    return fail(ErrorCode::kRefused, "vCPU state", std::move(why));
  };
  if (bytes.size() < sizeof(FileHeader) || bytes.size() > kMaxEncodedBytes) {
    return refuse(fmt::format("{} bytes cannot be one", bytes.size()));
  }
  const auto header = load<FileHeader>(bytes);
  if (header.magic != kMagic || header.version != kVersion || header.records != kRecordKinds) {
    return refuse(
        fmt::format("magic {:#x}, version {}, {} records; this side knows version {} with {}",
                    header.magic,
                    header.version,
                    header.records,
                    kVersion,
                    kRecordKinds));
  }
  VcpuState state;
  std::array<bool, kRecordKinds> seen{};
  auto rest = bytes.subspan(sizeof(header));
  for (unsigned i = 0; i < header.records; ++i) {
    if (rest.size() < sizeof(RecordHeader)) {
      return refuse("is cut off");
    }
    const auto head = load<RecordHeader>(rest);
    rest = rest.subspan(sizeof(head));
    if (head.kind == 0 || head.kind > kRecordKinds || head.reserved != 0) {
      return refuse(fmt::format("record {} is unknown", head.kind));
    }
    if (std::exchange(seen[head.kind - 1U], true)) {
      return refuse(fmt::format("record {} comes twice", head.kind));
    }
    const auto kind = static_cast<Record>(head.kind);
    if (head.length > rest.size() || !right_size(kind, head.length)) {
      return refuse(fmt::format("record {} has an impossible length {}", head.kind, head.length));
    }
    state.record(kind).assign(rest.begin(), rest.begin() + head.length);
    rest = rest.subspan(head.length);
  }
  if (!rest.empty()) {
    return refuse(fmt::format("{} bytes are left over", rest.size()));
  }
  const auto& cpuid = state.record(Record::kCpuid);
  if (load<uapi::CpuidHeader>(cpuid).count !=
      (cpuid.size() - sizeof(uapi::CpuidHeader)) / sizeof(kvm_cpuid_entry2)) {
    return refuse("CPUID count and length disagree");
  }
  if (load<kvm_xcrs>(state.record(Record::kXcrs)).nr_xcrs > KVM_MAX_XCRS) {
    return refuse("has too many extended control registers");
  }
  if (load<TscRecord>(state.record(Record::kTsc)).offset_known > 1) {
    return refuse("has an impossible time stamp counter");
  }
  return state;
}

std::span<const std::byte> VcpuState::location(StateRegister which) const {
  // Legacy XSAVE region (SDM volume 1, 13.4.1): ST0 at 32, XMM0 at 160, 16 bytes each; upper halves
  // of YMM at 576 in the standard form that KVM uses.
  constexpr std::size_t kSt0 = 32;
  constexpr std::size_t kXmm0 = 160;
  constexpr std::size_t kYmmHigh0 = 576;
  const std::span<const std::byte> xsave(record(Record::kXsave));
  const std::span<const std::byte> sregs(record(Record::kSregs));
  switch (which.kind) {
    case StateRegister::Kind::kGeneral:
      // kvm_regs: rax rbx rcx rdx rsi rdi rsp rbp r8 .. r15.
      return std::span<const std::byte>(record(Record::kRegs))
          .subspan(std::size_t{which.number} * 8, 8);
    case StateRegister::Kind::kXmm:
      return xsave.subspan(kXmm0 + std::size_t{which.number} * 16, 16);
    case StateRegister::Kind::kYmmHigh:
      return xsave.subspan(kYmmHigh0 + std::size_t{which.number} * 16, 16);
    case StateRegister::Kind::kX87:
      return xsave.subspan(kSt0 + std::size_t{which.number} * 16, 10);
    case StateRegister::Kind::kFsBase:
      return sregs.subspan(offsetof(kvm_sregs2, fs) + offsetof(kvm_segment, base), 8);
    case StateRegister::Kind::kGsBase:
      return sregs.subspan(offsetof(kvm_sregs2, gs) + offsetof(kvm_segment, base), 8);
  }
  return {};
}

void VcpuState::forget(StateRegister which) {
  const auto at = location(which);
  // The bytes are this object's own, found by the function that readers share.
  auto* bytes = const_cast<std::byte*>(at.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  std::memset(bytes, 0, at.size());
}

std::uint64_t VcpuState::value(StateRegister which) const {
  return load<std::uint64_t>(location(which));
}

std::uint64_t VcpuState::tsc() const {
  return load<TscRecord>(record(Record::kTsc)).counter;
}

std::string register_name(StateRegister which) {
  switch (which.kind) {
    case StateRegister::Kind::kGeneral:
      return fmt::format("r{}", which.number);
    case StateRegister::Kind::kXmm:
      return fmt::format("xmm{}", which.number);
    case StateRegister::Kind::kYmmHigh:
      return fmt::format("upper half of ymm{}", which.number);
    case StateRegister::Kind::kX87:
      return fmt::format("st{}", which.number);
    case StateRegister::Kind::kFsBase:
      return "fs base";
    case StateRegister::Kind::kGsBase:
      return "gs base";
  }
  return "unknown";
}

}  // namespace godwit::kvm
