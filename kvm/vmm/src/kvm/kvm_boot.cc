#include "kvm/kvm_boot.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include <fmt/format.h>

#include "guest/image.h"
#include "guest/platform.h"

// The machine starts where other machines arrive after a boot loader and a kernel's entry: long
// mode with paging, at privilege level 3. No instruction runs at level 0, because some KVMs emulate
// that level slowly and incompletely. IOPL 3 lets the payload use its doorbell port. Memory is
// mapped one to one by 2 MiB pages with the user bit, as far as the guest ever touches: the tables
// follow the populated memory, not the address space.

namespace godwit::vmm {
namespace {

constexpr std::uint64_t kStackPages = 2;
constexpr std::uint64_t kLargePage = 2 * kMiB;
constexpr std::uint64_t kEntries = 512;  ///< of a page table

// Accessed and dirty are set already, so that the processor has nothing to write into the tables.
constexpr std::uint64_t kTableFlags = 0x27;  ///< present, writable, user, accessed
constexpr std::uint64_t kLeafFlags = 0xE7;   ///< and dirty, page size 2 MiB

constexpr std::uint64_t kCr0 = 0x80050033;  ///< PG AM WP NE ET MP PE
constexpr std::uint64_t kCr4 = 0x620;       ///< PAE OSFXSR OSXMMEXCPT
constexpr std::uint64_t kCr4Osxsave = 1U << 18;
constexpr std::uint64_t kEfer = 0x501;     ///< LMA LME SCE
constexpr std::uint64_t kRflags = 0x3002;  ///< IOPL 3
constexpr std::uint64_t kXcr0Avx = 7;      ///< x87, SSE, AVX

constexpr std::uint64_t div_up(std::uint64_t a, std::uint64_t b) {
  return (a + b - 1) / b;
}

kvm_segment flat_segment(std::uint16_t selector, std::uint8_t type, std::uint64_t base) {
  kvm_segment segment{};
  segment.base = base;
  segment.limit = 0xFFFFFFFF;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.dpl = 3;
  segment.s = 1;
  segment.g = 1;
  return segment;
}

Status set_segments(const kvm::System& system,
                    const kvm::Vcpu& vcpu,
                    const BootLayout& layout,
                    std::uint64_t block_gpa) {
  constexpr std::uint8_t kCode = 11;  // execute, read, accessed
  constexpr std::uint8_t kData = 3;   // read, write, accessed
  kvm_sregs sregs{};
  if (::ioctl(vcpu.fd(), KVM_GET_SREGS, &sregs) != 0) {
    return fail_errno(errno, "KVM_GET_SREGS");
  }
  sregs.cr0 = kCr0;
  sregs.cr3 = layout.tables_page << kPageShift;
  sregs.cr4 = kCr4 | (system.has_avx() ? kCr4Osxsave : 0);
  sregs.efer = kEfer;
  sregs.cs = flat_segment(0x1B, kCode, 0);
  sregs.cs.l = 1;
  sregs.ds = sregs.es = sregs.ss = flat_segment(0x23, kData, 0);
  sregs.ds.db = sregs.es.db = sregs.ss.db = 1;
  sregs.fs = flat_segment(0x23, kData, block_gpa + offsetof(guest::VcpuBlock, fs_canary));
  sregs.gs = flat_segment(0x23, kData, block_gpa + offsetof(guest::VcpuBlock, gs_canary));
  if (::ioctl(vcpu.fd(), KVM_SET_SREGS, &sregs) != 0) {
    return fail_errno(errno, "KVM_SET_SREGS");
  }
  if (system.has_avx()) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].xcr = 0;
    xcrs.xcrs[0].value = kXcr0Avx;
    if (::ioctl(vcpu.fd(), KVM_SET_XCRS, &xcrs) != 0) {
      return fail_errno(errno, "KVM_SET_XCRS");
    }
  }
  return {};
}

}  // namespace

BootLayout plan_boot(const GuestConfig& config) {
  return plan_boot(config, region_layout(config.memory_bytes), guest::kPayloadGpa / kPageBytes);
}

BootLayout plan_boot(const GuestConfig& config,
                     const std::vector<engine::MachineDescription::Region>& regions,
                     std::uint64_t payload_page) {
  const auto last = std::max<std::uint64_t>(1, config.populated_bytes / kPageBytes) - 1;
  const auto span = gpa_of_page(regions, last) + kPageBytes;
  BootLayout layout;
  layout.tables_page = payload_page + kPayloadPages;
  layout.pds = div_up(span, kGiB);
  layout.pdpts = div_up(layout.pds, kEntries);
  layout.stacks_page = layout.tables_page + 1 + layout.pdpts + layout.pds;
  layout.reserved_pages = layout.stacks_page + config.vcpus * kStackPages;
  return layout;
}

void write_tables(const BootLayout& layout, const engine::GuestMemory& memory) {
  auto* pml4 = reinterpret_cast<std::uint64_t*>(memory.page({0, layout.tables_page}));
  auto* pdpt = pml4 + kEntries;
  auto* pd = pdpt + layout.pdpts * kEntries;
  const auto pdpt_gpa = (layout.tables_page + 1) << kPageShift;
  const auto pd_gpa = pdpt_gpa + (layout.pdpts << kPageShift);
  for (std::uint64_t i = 0; i < layout.pdpts; ++i) {
    pml4[i] = (pdpt_gpa + (i << kPageShift)) | kTableFlags;
  }
  for (std::uint64_t i = 0; i < layout.pds; ++i) {
    pdpt[i] = (pd_gpa + (i << kPageShift)) | kTableFlags;
  }
  for (const auto& region : memory.regions) {
    const auto end = std::min(region.gpa + (region.page_count << kPageShift), layout.pds * kGiB);
    for (auto gpa = region.gpa & ~(kLargePage - 1); gpa < end; gpa += kLargePage) {
      pd[gpa / kLargePage] = gpa | kLeafFlags;
    }
  }
}

void write_segment_canaries(const WorkloadPlan& plan, const engine::GuestMemory& memory) {
  for (std::uint32_t vcpu = 0; vcpu < plan.params.vcpus; ++vcpu) {
    guest::VcpuBlock block{};
    std::byte* at = memory.page(page_id(memory, plan.blocks_page + vcpu));
    std::memcpy(&block, at, sizeof(block));
    block.fs_canary = guest::canary_value(plan.params.seed, vcpu, guest::kCanaryFs);
    block.gs_canary = guest::canary_value(plan.params.seed, vcpu, guest::kCanaryGs);
    std::memcpy(at, &block, sizeof(block));
  }
}

Result<GuestLayout> lay_out(const GuestConfig& config,
                            const engine::GuestMemory& memory,
                            std::uint64_t payload_page,
                            std::uint64_t counter_hz) {
  std::vector<engine::MachineDescription::Region> regions;
  for (const auto& region : memory.regions) {
    regions.push_back({region.gpa, region.page_count});
  }
  const auto boot = plan_boot(config, regions, payload_page);
  GODWIT_TRY_ASSIGN(const auto plan,
                    plan_workload(config, regions, boot.reserved_pages, counter_hz));
  write_tables(boot, memory);
  write_workload(plan, memory);
  write_segment_canaries(plan, memory);
  return GuestLayout{.tables_page = boot.tables_page,
                     .reserved_pages = boot.reserved_pages,
                     .params_gpa = plan.params_gpa,
                     .blocks_gpa = plan.params.blocks_gpa,
                     .table_page = plan.table_page,
                     .data_page = plan.data_page,
                     .data_pages = plan.data_pages};
}

Status write_boot(const BootLayout& layout,
                  const WorkloadPlan& plan,
                  const engine::GuestMemory& memory) {
  const auto image = guest::payload_image();
  if (image.size() > kPayloadPages * kPageBytes) {
    return fail(
        ErrorCode::kInternal, "boot", fmt::format("the payload has {} bytes", image.size()));
  }
  // Written whole, so that exactly the planned pages are populated.
  std::memset(memory.page({0, 0}), 0, layout.reserved_pages * kPageBytes);
  std::memcpy(memory.page({0, guest::kPayloadGpa / kPageBytes}), image.data(), image.size());
  write_tables(layout, memory);
  write_workload(plan, memory);
  write_segment_canaries(plan, memory);
  return {};
}

Status enter_payload(const kvm::System& system,
                     const kvm::Vcpu& vcpu,
                     const BootLayout& layout,
                     const WorkloadPlan& plan) {
  GODWIT_TRY(
      set_segments(system, vcpu, layout, plan.params.blocks_gpa + vcpu.index() * kPageBytes));
  kvm_regs regs{};
  regs.rip = guest::kPayloadGpa;
  regs.rsp = (layout.stacks_page + (vcpu.index() + 1ULL) * kStackPages) << kPageShift;
  regs.rflags = kRflags;
  regs.rdi = plan.params_gpa;
  regs.rsi = vcpu.index();
  regs.rdx = system.has_avx() ? guest::kStartAvx : 0;
  if (::ioctl(vcpu.fd(), KVM_SET_REGS, &regs) != 0) {
    return fail_errno(errno, "KVM_SET_REGS");
  }
  return {};
}

}  // namespace godwit::vmm
