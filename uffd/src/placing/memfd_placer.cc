#include "placing/memfd_placer.h"

#include <algorithm>
#include <array>

#include "scan/data_extent.h"

// Getting bytes into a page of the guest that the guest must not see until all of them are there.
//
// The memory is a memfd, and the guest's mapping has no page-table entry for the page, so the bytes
// go into the file by another way: pwrite(), or memcpy() through an alias mapping.
//
// Zero pages: where the file has a hole, the page reads zero already and nothing is done, so that
// an empty guest stays empty. Where it has a page, zeros are written over it. Punching a hole
// instead would also read zero, but takes the page out of the guest's mapping if it is there (a
// fault for a page that everybody believes mapped), and undoes prealloc.

namespace godwit::uffd {
namespace {
constexpr std::uint64_t kZerosBytes = 64 * kPageBytes;
}

Status MemfdPlacer::put(PageRun run, const std::byte* bytes) {
  const auto& region = memory().regions[run.region];
  return write(region, run.first << kPageShift, bytes, run.bytes());
}

Status MemfdPlacer::put_zero(PageRun run) {
  const auto& region = memory().regions[run.region];
  const auto end = region.offset + (run.end() << kPageShift);
  for (auto at = region.offset + (run.first << kPageShift); at < end;) {
    GODWIT_TRY_ASSIGN(const auto data, next_data(region.fd, at, end));
    if (!data.empty()) {
      GODWIT_TRY(write_zeros(region, data.start - region.offset, data.end - data.start));
    }
    at = data.end;
  }
  return {};
}

Status MemfdPlacer::write_zeros(const engine::MemoryRegion& region,
                                std::uint64_t at,
                                std::uint64_t size) {
  static constexpr std::array<std::byte, kZerosBytes> kZeros{};
  while (size > 0) {
    const auto step = std::min<std::uint64_t>(size, kZeros.size());
    GODWIT_TRY(write(region, at, kZeros.data(), step));
    at += step;
    size -= step;
  }
  return {};
}

}  // namespace godwit::uffd
