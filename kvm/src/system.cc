#include "godwit/kvm/system.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "uapi.h"

namespace godwit::kvm {
namespace {

constexpr std::uint32_t kMaxCpuidEntries = 1024;
constexpr std::uint32_t kMaxMsrs = 4096;

struct RequiredCap {
  int number;
  const char* name;
  const char* purpose;
};

constexpr RequiredCap kRequired[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "placing the TSS"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "the guest's CPUID"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "pausing a vCPU without a race"},
    {KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS", "reading registers at an exit"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "saving a vCPU"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "saving a vCPU"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "saving a vCPU"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "saving a vCPU"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS", "saving a vCPU"},
    {KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ", "carrying the time stamp counter over"},
    {uapi::kCapSregs2, "KVM_CAP_SREGS2", "saving a vCPU"},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", "dirty tracking"},
};

}  // namespace

Result<System> System::open(const char* path) {
  Fd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    switch (errno) {
      case ENOENT:
      case ENODEV:
      case ENXIO:
        return fail(make_error(
            ErrorCode::kUnsupported,
            "open /dev/kvm",
            fmt::format("{} is missing; enable virtualisation in the firmware or the outer "
                        "hypervisor, or load kvm-intel or kvm-amd",
                        path)));
      case EACCES:
      case EPERM:
        return fail(make_error(
            ErrorCode::kPermission,
            "open /dev/kvm",
            fmt::format("{} is forbidden to this user; join the group that owns it (often "
                        "\"kvm\")",
                        path)));
      default:
        return fail_errno(errno, "open /dev/kvm", path);
    }
  }
  System system(std::move(fd));
  const int version = ::ioctl(system.fd(), KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    return fail(
        ErrorCode::kUnsupported,
        "KVM_GET_API_VERSION",
        fmt::format(
            "{} is not KVM or speaks version {} instead of {}", path, version, KVM_API_VERSION));
  }
  GODWIT_TRY(system.check_capabilities());
  const int bytes = ::ioctl(system.fd(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (bytes < static_cast<int>(sizeof(kvm_run))) {
    return fail(
        ErrorCode::kUnsupported, "KVM_GET_VCPU_MMAP_SIZE", fmt::format("says {} bytes", bytes));
  }
  system.run_bytes_ = static_cast<std::size_t>(bytes);
  GODWIT_TRY(system.load_cpuid());
  GODWIT_TRY(system.load_msr_indices());
  return system;
}

int System::extension(int capability) const {
  const int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  return value < 0 ? 0 : value;
}

std::uint32_t System::memslots_max() const {
  // What every KVM has had since long before the versions that are required here.
  constexpr int kLeast = 32;
  return static_cast<std::uint32_t>(std::max(kLeast, extension(KVM_CAP_NR_MEMSLOTS)));
}

Status System::check_capabilities() const {
  for (const auto& cap : kRequired) {
    if (extension(cap.number) == 0) {
      return fail(ErrorCode::kUnsupported,
                  "KVM_CHECK_EXTENSION",
                  fmt::format("this host's KVM has no {}, needed for {}; use a newer kernel",
                              cap.name,
                              cap.purpose));
    }
  }
  if ((static_cast<unsigned>(extension(KVM_CAP_SYNC_REGS)) & KVM_SYNC_X86_REGS) == 0) {
    return fail(
        ErrorCode::kUnsupported,
        "KVM_CHECK_EXTENSION",
        "this host's KVM does not share general registers (KVM_SYNC_X86_REGS); use a newer kernel");
  }
  return {};
}

Status System::load_cpuid() {
  // The kernel refuses a buffer that is too small with E2BIG and does not say how large it must be.
  for (std::uint32_t count = 128; count <= kMaxCpuidEntries; count *= 2) {
    cpuid_.assign(sizeof(uapi::CpuidHeader) + count * sizeof(kvm_cpuid_entry2), std::byte{0});
    uapi::CpuidHeader header{.count = count};
    std::memcpy(cpuid_.data(), &header, sizeof(header));
    if (::ioctl(fd_.get(), uapi::kGetSupportedCpuid, cpuid_.data()) == 0) {
      std::memcpy(&header, cpuid_.data(), sizeof(header));
      if (header.count > count) {
        return fail(ErrorCode::kUnsupported,
                    "KVM_GET_SUPPORTED_CPUID",
                    "says more entries than there is room for");
      }
      cpuid_.resize(sizeof(header) + header.count * sizeof(kvm_cpuid_entry2));
      return {};
    }
    if (errno != E2BIG) {
      return fail_errno(errno, "KVM_GET_SUPPORTED_CPUID");
    }
  }
  return fail(
      ErrorCode::kUnsupported, "KVM_GET_SUPPORTED_CPUID", "has more entries than any known host");
}

Status System::load_msr_indices() {
  uapi::MsrListHeader header{};
  // With no room the kernel says E2BIG and fills in how many there are.
  if (::ioctl(fd_.get(), uapi::kGetMsrIndexList, &header) != 0 && errno != E2BIG) {
    return fail_errno(errno, "KVM_GET_MSR_INDEX_LIST");
  }
  if (header.count > kMaxMsrs) {
    return fail(ErrorCode::kUnsupported,
                "KVM_GET_MSR_INDEX_LIST",
                fmt::format("lists {} registers", header.count));
  }
  std::vector<std::uint32_t> buffer(1 + header.count);
  buffer[0] = header.count;
  if (::ioctl(fd_.get(), uapi::kGetMsrIndexList, buffer.data()) != 0) {
    return fail_errno(errno, "KVM_GET_MSR_INDEX_LIST");
  }
  msrs_.assign(buffer.begin() + 1, buffer.end());
  return {};
}

std::optional<System::CpuidLeaf> System::cpuid_leaf(std::uint32_t function) const {
  for (std::size_t at = sizeof(uapi::CpuidHeader); at + sizeof(kvm_cpuid_entry2) <= cpuid_.size();
       at += sizeof(kvm_cpuid_entry2)) {
    kvm_cpuid_entry2 entry{};
    std::memcpy(&entry, cpuid_.data() + at, sizeof(entry));
    if (entry.function == function) {
      return CpuidLeaf{entry.eax, entry.ecx};
    }
  }
  return std::nullopt;
}

bool System::has_avx() const {
  constexpr std::uint32_t kXsaveBit = 1U << 26;
  constexpr std::uint32_t kAvxBit = 1U << 28;
  const auto leaf = cpuid_leaf(1);
  return leaf && (leaf->ecx & kXsaveBit) != 0 && (leaf->ecx & kAvxBit) != 0;
}

unsigned System::physical_bits() const {
  constexpr unsigned kWithoutLeaf = 36;
  const auto leaf = cpuid_leaf(0x8000'0008);
  return leaf ? leaf->eax & 0xFFU : kWithoutLeaf;
}

std::string unusable_reason(const char* path) {
  auto system = System::open(path);
  return system ? std::string() : system.error().message();
}

}  // namespace godwit::kvm
