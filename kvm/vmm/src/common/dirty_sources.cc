#include "common/dirty_sources.h"

#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/units.h"
#include "godwit/kvm/dirty_bitmap_log.h"
#include "godwit/uffd/scan_dirty_source.h"
#include "godwit/uffd/wp_dirty_source.h"

namespace godwit::vmm {
namespace {

constexpr const char* kOperation = "dirty source";

Result<MadeTracker> make_log(const TrackedGuest& guest) {
  return MadeTracker{std::make_unique<kvm::DirtyBitmapLog>(*guest.vm, guest.populated)};
}

Status probe_ring(const DirtyTracker& /*row*/, bool /*huge_pages*/) {
  GODWIT_TRY_ASSIGN(const auto system, kvm::System::open());
  if (auto why = kvm::dirty_ring_unusable_reason(system); !why.empty()) {
    return fail(ErrorCode::kUnsupported, "", std::move(why));
  }
  return {};
}

Status enable_ring(const kvm::System& system, kvm::Vm& vm) {
  return kvm::DirtyRing::enable(system, vm);
}

Result<MadeTracker> make_ring(const TrackedGuest& guest) {
  GODWIT_TRY_ASSIGN(
      auto made,
      kvm::DirtyRing::create(*guest.vm, guest.vcpus, guest.leave_guest, guest.populated));
  auto* ring = made.get();
  return MadeTracker{std::move(made), [ring] { return ring->wait_reset(); }};
}

Result<MadeTracker> make_wp_async(const TrackedGuest& guest) {
  GODWIT_TRY_ASSIGN(auto made, uffd::make_scan_dirty_source(guest.memory));
  return MadeTracker{std::move(made)};
}

Result<MadeTracker> make_wp(const TrackedGuest& guest) {
  GODWIT_TRY_ASSIGN(auto made, uffd::make_wp_dirty_source(guest.memory));
  return MadeTracker{std::move(made)};
}

/// Makes it once, for memory of no pages: only the kind of memory is asked about.
Status probe_by_making(const DirtyTracker& row, bool huge_pages) {
  engine::GuestMemory nothing;
  if (huge_pages) {
    engine::MemoryRegion none;
    none.block_pages = 2 * kMiB / kPageBytes;
    nothing.regions.push_back(none);
  }
  GODWIT_TRY(row.make({.memory = nothing}));
  return {};
}

// Of each kind the best first: that is what kAuto takes. Why the log before the ring:
// docs/adr/0006-dirty-log-by-default.md.
constexpr auto kTrackers = std::to_array<DirtyTracker>({
    {.choice = DirtyChoice::kLog, .kind = GuestKind::kKvm, .make = make_log},
    {.choice = DirtyChoice::kRing,
     .kind = GuestKind::kKvm,
     .probe = probe_ring,
     .enable = enable_ring,
     .make = make_ring},
    {.choice = DirtyChoice::kWpAsync,
     .kind = GuestKind::kProcess,
     .probe = probe_by_making,
     .make = make_wp_async},
    {.choice = DirtyChoice::kWp,
     .kind = GuestKind::kProcess,
     .probe = probe_by_making,
     .make = make_wp},
});

/// "log and ring"
std::string choices_of(GuestKind kind) {
  std::string text;
  for (const auto& [choice, name] : kDirtyChoiceNames.entries()) {
    if (choice != DirtyChoice::kAuto && !trackers_for(kind, choice).empty()) {
      text += (text.empty() ? "" : " and ") + std::string(name);
    }
  }
  return text;
}

}  // namespace

std::vector<DirtyTracker> trackers_for(GuestKind kind, DirtyChoice choice) {
  std::vector<DirtyTracker> found;
  for (const auto& row : kTrackers) {
    if (row.kind == kind && (choice == DirtyChoice::kAuto || choice == row.choice)) {
      found.push_back(row);
    }
  }
  return found;
}

std::string_view dirty_choice_name(DirtyChoice choice) {
  return kDirtyChoiceNames.name_of(choice);
}

std::optional<DirtyChoice> parse_dirty_choice(std::string_view name) {
  return kDirtyChoiceNames.parse(name);
}

Status check_dirty_choice(GuestKind kind, DirtyChoice choice) {
  if (!trackers_for(kind, choice).empty()) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              kOperation,
              fmt::format("{}: a {} guest has {}",
                          dirty_choice_name(choice),
                          kind == GuestKind::kKvm ? "KVM" : "process",
                          choices_of(kind)));
}

Status probe_dirty_choice(GuestKind kind, DirtyChoice choice, bool huge_pages) {
  if (auto possible = check_dirty_choice(kind, choice); !possible) {
    // Here the kind may be the host's doing, so it is no mistake of whoever chose.
    return fail(ErrorCode::kUnsupported, kOperation, possible.error().detail);
  }
  if (choice == DirtyChoice::kAuto) {
    return {};
  }
  for (const auto& row : trackers_for(kind, choice)) {
    const auto possible = row.probe == nullptr ? Status() : row.probe(row, huge_pages);
    if (!possible) {
      const auto& cause = possible.error();
      return fail(cause.code == ErrorCode::kPermission ? cause.code : ErrorCode::kUnsupported,
                  kOperation,
                  fmt::format("{}: {}", dirty_choice_name(choice), cause.message()));
    }
  }
  return {};
}

}  // namespace godwit::vmm
