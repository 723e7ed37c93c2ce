#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/mapping.h"
#include "godwit/uffd/page_installer.h"

#include "placing/placers.h"

// pwrite() or an alias? Which is faster depends on the host and on whether the pages exist: pwrite
// neither faults nor touches page tables, but checks and locks every page; the alias is plain
// memory once it is populated, and pays a fault for every page before that. So without prealloc we
// measure, on a scratch file, with fresh pages, taking turns and keeping the best of each, since
// the first touch of memory that the host must find somewhere is slow for either.

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

}  // namespace

std::unique_ptr<engine::PagePlacer> make_memfd_placer(const engine::GuestMemory& memory,
                                                      PlacementChoice choice,
                                                      bool prealloc) {
  const bool aliased = std::all_of(
      memory.regions.begin(), memory.regions.end(), [](const engine::MemoryRegion& region) {
        return region.alias != nullptr;
      });
  const bool by_alias =
      aliased && (choice == PlacementChoice::kAlias ||
                  (choice == PlacementChoice::kAuto && (prealloc || alias_wins())));
  if (by_alias) {
    return make_alias_placer(memory);
  }
  return make_pwrite_placer(memory);
}

}  // namespace godwit::uffd
