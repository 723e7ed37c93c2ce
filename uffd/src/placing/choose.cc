#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/mapping.h"
#include "godwit/uffd/target_parts.h"
#include "godwit/uffd/uffd.h"

#include "faults/fault_services.h"
#include "memory_kind.h"
#include "placing/placers.h"
#include "placing/populate.h"

// What goes with which memory: the table is at make_target_parts().
//
// For a memfd, pwrite() or an alias? Which is faster depends on the host and on whether the pages
// exist: pwrite neither faults nor touches page tables, but checks and locks every page; the alias
// is plain memory once it is populated, and pays a fault for every page before that. So without
// prealloc we measure, on a scratch file, with fresh pages, taking turns and keeping the best of
// each, since the first touch of memory that the host must find somewhere is slow for either.

namespace godwit::uffd {
namespace {

constexpr std::uint64_t kTrialBytes = kMiB;
constexpr int kTrialRounds = 3;
constexpr std::uint64_t kTrialStep = 64 * kPageBytes;  // what one receive brings

using MakePlacer = std::unique_ptr<engine::PagePlacer> (*)(const engine::GuestMemory&);

/// How long `placer` takes to fill the scratch region; a measurement that fails never wins.
std::int64_t time_fill(engine::PagePlacer& placer, const std::vector<std::byte>& source) {
  const auto begin = monotonic_ns();
  for (std::uint64_t at = 0; at < kTrialBytes; at += kTrialStep) {
    if (!placer.place({0, at >> kPageShift, kTrialStep >> kPageShift}, source.data())) {
      return INT64_MAX;
    }
  }
  return monotonic_ns() - begin;
}

/// One round on fresh pages: a new file, and the mapping is made outside the time that is measured,
/// as in real use.
std::int64_t trial(MakePlacer make_placer, const std::vector<std::byte>& source) {
  auto file = create_memfd("godwit-trial", kTrialBytes);
  if (!file) {
    return INT64_MAX;
  }
  auto alias = Mapping::shared(file->get(), 0, kTrialBytes);
  if (!alias) {
    return INT64_MAX;
  }
  engine::GuestMemory memory;
  memory.regions.push_back({0, kTrialBytes >> kPageShift, nullptr, alias->data(), file->get(), 0});
  return time_fill(*make_placer(memory), source);
}

bool alias_wins() {
  const std::vector<std::byte> source(kTrialStep, std::byte{0x5a});
  auto best_alias = INT64_MAX;
  auto best_pwrite = INT64_MAX;
  for (int round = 0; round < kTrialRounds; ++round) {
    best_alias = std::min(best_alias, trial(make_alias_placer, source));
    best_pwrite = std::min(best_pwrite, trial(make_pwrite_placer, source));
  }
  return best_alias < best_pwrite;
}

std::unique_ptr<engine::PagePlacer> choose_memfd_placer(const engine::GuestMemory& memory,
                                                        bool prealloc) {
  const bool aliased = std::all_of(
      memory.regions.begin(), memory.regions.end(), [](const engine::MemoryRegion& region) {
        return region.alias != nullptr;
      });
  return aliased && (prealloc || alias_wins()) ? make_alias_placer(memory)
                                               : make_pwrite_placer(memory);
}

Result<std::int64_t> populate_all(const engine::GuestMemory& memory) {
  auto populated = prealloc(memory);
  if (!populated) {
    return fail(
        populated.error().code, "the memory cannot be populated", populated.error().message());
  }
  return populated;
}

Result<TargetParts> make_anonymous_parts(const engine::GuestMemory& memory,
                                         const TargetNeeds& needs,
                                         Mode mode) {
  TargetParts parts;
  if (needs.postcopy) {
    parts.prealloc_left_out = needs.prealloc;
    // Both fill pages through one userfaultfd.
    GODWIT_TRY_ASSIGN(auto opened, Uffd::open({}, mode));
    const auto uffd = std::make_shared<Uffd>(std::move(opened));
    parts.placer = make_copy_placer(memory, uffd);
    parts.faults = make_anonymous_fault_service(memory, uffd);
    return parts;
  }
  parts.placer = make_direct_placer(memory);
  if (needs.prealloc) {
    GODWIT_TRY_ASSIGN(parts.prealloc_ns, populate_all(memory));
  }
  return parts;
}

}  // namespace

Result<TargetParts> make_target_parts(const engine::GuestMemory& memory, const TargetNeeds& needs) {
  const auto mode = needs.process_guest ? Mode::kUserFaultsEnough : Mode::kAllFaults;
  const auto kind = memory_kind(memory);
  if (kind == MemoryKind::kAnonymous) {
    return make_anonymous_parts(memory, needs, mode);
  }
  TargetParts parts;
  if (needs.prealloc) {
    GODWIT_TRY_ASSIGN(parts.prealloc_ns, populate_all(memory));
  }
  parts.placer = kind == MemoryKind::kHuge ? make_huge_placer(memory)
                                           : choose_memfd_placer(memory, needs.prealloc);
  if (needs.postcopy) {
    GODWIT_TRY_ASSIGN(parts.faults,
                      kind == MemoryKind::kHuge ? make_huge_fault_service(memory, mode)
                                                : make_memfd_fault_service(memory, mode));
  }
  return parts;
}

}  // namespace godwit::uffd
