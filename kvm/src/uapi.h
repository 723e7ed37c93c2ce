#pragma once

// The only header of the project's that includes the kernel's KVM interface, with what the
// distribution's copy lacks.

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace godwit::kvm::uapi {

// The kernel's structures that end in a flexible array are declared through a helper that puts an
// empty structure before the array. An empty structure has size 0 in C and 1 in C++, so in C++ both
// the array's offset and the ioctl's number come out wrong. These are the same structures without
// the array; its elements follow the header in memory.

struct CpuidHeader {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(CpuidHeader) == 8);

struct MsrListHeader {
  std::uint32_t count = 0;
};
static_assert(sizeof(MsrListHeader) == 4);

struct MsrsHeader {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(MsrsHeader) == 8);

/// The part of kvm_xsave that every host has; KVM_CAP_XSAVE2 says how much may follow.
struct XsaveArea {
  std::uint32_t region[1024];
};
static_assert(sizeof(XsaveArea) == 4096);

inline constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xA4, XsaveArea);
inline constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xA5, XsaveArea);
inline constexpr unsigned long kGetXsave2 = _IOR(KVMIO, 0xCF, XsaveArea);  // since v5.17
inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
inline constexpr unsigned long kGetMsrIndexList = _IOWR(KVMIO, 0x02, MsrListHeader);
inline constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, MsrsHeader);
inline constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, MsrsHeader);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);

inline constexpr int kCapXsave2 = 208;  // since v5.17
inline constexpr int kCapSregs2 = 200;  // since v5.14

// Manual protection of the dirty log (since v5.0): without INITIALLY_SET (since v5.7), see
// dirty_bitmap_log.cc.
inline constexpr std::uint64_t kManualProtectEnable = 1;

}  // namespace godwit::kvm::uapi
