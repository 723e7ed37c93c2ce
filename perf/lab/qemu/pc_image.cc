#include "qemu/pc_image.h"

#include <x86intrin.h>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/mapping.h"
#include "godwit/base/units.h"
#include "godwit/vmm/layout.h"

#include "guest/pc_platform.h"
#include "guest/workload.h"

// Symbols of pc_payload.S.
extern "C" const std::byte godwit_pc_payload_begin[];  // NOLINT(readability-identifier-naming)
extern "C" const std::byte godwit_pc_payload_end[];    // NOLINT(readability-identifier-naming)

namespace godwit::lab {
namespace {

using Regions = std::vector<engine::MachineDescription::Region>;

constexpr std::uint64_t kHighGpa = 4 * kGiB;

Regions pc_regions(std::uint64_t memory_bytes) {
  if (memory_bytes <= kPcLowBytes) {
    return {{0, memory_bytes / kPageBytes}};
  }
  return {{0, kPcLowBytes / kPageBytes}, {kHighGpa, (memory_bytes - kPcLowBytes) / kPageBytes}};
}

}  // namespace

Result<PcImage> write_pc_image(const vmm::GuestConfig& config,
                               std::uint64_t counter_hz,
                               const std::string& path) {
  const auto regions = pc_regions(config.memory_bytes);
  constexpr auto kFirstPage = guest::kPcImageGpa / kPageBytes;
  const auto payload = static_cast<std::size_t>(godwit_pc_payload_end - godwit_pc_payload_begin);
  if (payload > vmm::kPayloadPages * kPageBytes) {
    return fail(ErrorCode::kInternal, "image", fmt::format("the payload has {} bytes", payload));
  }
  // Address space for the whole guest, of which only the image's pages are ever touched.
  GODWIT_TRY_ASSIGN(const auto space, Mapping::anonymous(config.memory_bytes));
  engine::GuestMemory memory;
  auto* at = space.data();
  for (const auto& region : regions) {
    engine::MemoryRegion mapped;
    mapped.gpa = region.gpa;
    mapped.page_count = region.page_count;
    mapped.guest = at;
    memory.regions.push_back(mapped);
    at += region.page_count * kPageBytes;
  }
  auto* image = space.data() + guest::kPcImageGpa;
  std::memcpy(image, godwit_pc_payload_begin, payload);
  GODWIT_TRY_ASSIGN(const auto layout, vmm::lay_out(config, memory, kFirstPage, counter_hz));
  guest::PcBoot boot{};
  boot.tables_gpa = layout.tables_page * kPageBytes;
  boot.stack_gpa = layout.reserved_pages * kPageBytes;
  boot.params_gpa = layout.params_gpa;
  boot.fs_base = layout.blocks_gpa + offsetof(guest::VcpuBlock, fs_canary);
  boot.gs_base = layout.blocks_gpa + offsetof(guest::VcpuBlock, gs_canary);
  std::memcpy(image + guest::kPcBootOffset, &boot, sizeof boot);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(image),
             static_cast<std::streamsize>((layout.table_page - kFirstPage) * kPageBytes));
  file.close();
  if (!file) {
    return fail_errno(errno, "image", path);
  }
  return PcImage{layout.data_pages};
}

std::uint64_t measure_counter_hz() {
  const auto start_ns = monotonic_ns();
  const auto start = __rdtsc();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto ticks = __rdtsc() - start;
  const auto ns = static_cast<std::uint64_t>(monotonic_ns() - start_ns);
  return ticks * 1'000'000'000 / ns;
}

}  // namespace godwit::lab
