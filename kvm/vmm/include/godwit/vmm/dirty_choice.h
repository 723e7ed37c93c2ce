#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "godwit/base/names.h"
#include "godwit/base/result.h"

namespace godwit::vmm {

enum class GuestKind : std::uint8_t { kKvm = 1, kProcess = 2 };

/// How a machine learns of its guest's writes; fixed when the machine is made.
enum class DirtyChoice : std::uint8_t {
  kAuto = 1,  ///< KVM: log. Process: wp-async, else wp, else the workers' own marks
  kLog,       ///< KVM's dirty bitmap
  kRing,      ///< KVM's dirty rings
  kWp,        ///< userfaultfd write-protection with a handler
  kWpAsync,   ///< write-protection that the kernel resolves, and a scan of the page tables
};

inline constexpr Names kDirtyChoiceNames{std::array{Named{DirtyChoice::kAuto, "auto"},
                                                    Named{DirtyChoice::kLog, "log"},
                                                    Named{DirtyChoice::kRing, "ring"},
                                                    Named{DirtyChoice::kWp, "wp"},
                                                    Named{DirtyChoice::kWpAsync, "wp-async"}}};

std::string_view dirty_choice_name(DirtyChoice choice);  ///< "wp-async"
std::optional<DirtyChoice> parse_dirty_choice(std::string_view name);

/// Whether a guest of `kind` can be tracked that way on any host.
/// Errors: kInvalidArgument naming the choices that it has.
Status check_dirty_choice(GuestKind kind, DirtyChoice choice);
/// Whether this host can do it too, for memory of 4 KiB pages or of huge ones.
/// Errors: kUnsupported, kPermission, with what is missing.
Status probe_dirty_choice(GuestKind kind, DirtyChoice choice, bool huge_pages = false);

}  // namespace godwit::vmm
