#include "godwit/vmm/dirty_choice.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/units.h"
#include "godwit/kvm/dirty_ring.h"
#include "godwit/kvm/system.h"
#include "godwit/uffd/scan_dirty_source.h"
#include "godwit/uffd/wp_dirty_source.h"

namespace godwit::vmm {
namespace {

constexpr std::array<std::pair<DirtyChoice, std::string_view>, 5> kNames{
    {{DirtyChoice::kAuto, "auto"},
     {DirtyChoice::kLog, "log"},
     {DirtyChoice::kRing, "ring"},
     {DirtyChoice::kWp, "wp"},
     {DirtyChoice::kWpAsync, "wp-async"}}};

/// Says which option asked for what cannot be done.
Status refuse(DirtyChoice choice, const Error& cause) {
  return fail(cause.code == ErrorCode::kPermission ? cause.code : ErrorCode::kUnsupported,
              "",
              fmt::format("--dirty-source {}: {}; --dirty-source auto takes what is possible",
                          dirty_choice_name(choice),
                          cause.message()));
}

}  // namespace

std::string_view dirty_choice_name(DirtyChoice choice) {
  for (const auto& [value, name] : kNames) {
    if (value == choice) {
      return name;
    }
  }
  return {};
}

std::optional<DirtyChoice> parse_dirty_choice(std::string_view name) {
  for (const auto& [value, known] : kNames) {
    if (known == name) {
      return value;
    }
  }
  return std::nullopt;
}

Status check_dirty_choice(GuestKind kind, DirtyChoice choice) {
  if (dirty_choice_name(choice).empty()) {
    return fail(ErrorCode::kInvalidArgument, "", "unknown dirty source; see --dirty-source");
  }
  const bool kvm = kind == GuestKind::kKvm;
  const bool of_kvm = choice == DirtyChoice::kLog || choice == DirtyChoice::kRing;
  if (choice != DirtyChoice::kAuto && of_kvm != kvm) {
    return fail(ErrorCode::kInvalidArgument,
                "",
                fmt::format("--dirty-source {}: a {} guest has {}",
                            dirty_choice_name(choice),
                            kvm ? "KVM" : "process",
                            kvm ? "log and ring" : "wp and wp-async"));
  }
  return {};
}

Status probe_dirty_choice(GuestKind kind, DirtyChoice choice, bool huge_pages) {
  if (auto possible = check_dirty_choice(kind, choice); !possible) {
    // Here the kind may be the host's doing (--guest auto), so it is no mistake of the line itself.
    return fail(ErrorCode::kUnsupported, "", possible.error().detail);
  }
  if (choice == DirtyChoice::kRing) {
    const auto system = kvm::System::open();
    if (!system) {
      return refuse(choice, system.error());
    }
    if (auto why = kvm::dirty_ring_unusable_reason(*system); !why.empty()) {
      return refuse(choice, make_error(ErrorCode::kUnsupported, "", std::move(why)));
    }
  }
  if (choice == DirtyChoice::kWp || choice == DirtyChoice::kWpAsync) {
    engine::GuestMemory nothing;
    if (huge_pages) {
      engine::MemoryRegion none;  // of no pages: only the kind of memory is asked about
      none.block_pages = 2 * kMiB / kPageBytes;
      nothing.regions.push_back(none);
    }
    const auto made = choice == DirtyChoice::kWp ? uffd::make_wp_dirty_source(nothing)
                                                 : uffd::make_scan_dirty_source(nothing);
    if (!made) {
      return refuse(choice, made.error());
    }
  }
  return {};
}

}  // namespace godwit::vmm
