#include "qemu/guest_options.h"

#include <fmt/format.h>

#include "cli/checks.h"
#include "cli/option_json.h"
#include "cli/options.h"

namespace godwit::lab {
namespace {

/// Reads what `table` knows of the point's options, as the command reads them.
template <typename Settings>
Status take(const app::OptionTable<Settings>& table, const Json& options, Settings& settings) {
  if (auto read = app::read_members(table, settings, options); !read) {
    return fail(ErrorCode::kInvalidArgument, "options", read.error().message());
  }
  return {};
}

}  // namespace

Result<GuestOptions> guest_options(const Point& point) {
  const auto& options = point.options;
  if (options.contains("inject")) {
    return fail(ErrorCode::kUnsupported, "options", "faults are planted in godwit only");
  }
  if (!point.user.empty()) {
    return fail(ErrorCode::kUnsupported, "options", "only godwit is run as another user");
  }
  app::GuestSettings guest;
  GODWIT_TRY(take(app::guest_options(), options, guest));
  if (guest.choice == app::GuestChoice::kProcess) {
    return fail(ErrorCode::kUnsupported, "options", "only a KVM guest can be compared");
  }
  if (guest.config.vcpus != 1) {
    return fail(
        ErrorCode::kUnsupported,
        "options",
        fmt::format("the payload for a peer has one vCPU, the scenario {}", guest.config.vcpus));
  }
  guest.choice = app::GuestChoice::kKvm;
  guest.config.kind = vmm::GuestKind::kKvm;
  GODWIT_TRY(app::finish_guest(guest));
  app::MigrationSettings migration;
  GODWIT_TRY(take(app::migration_options(), options, migration));
  const auto& source = migration.source;
  GuestOptions out;
  out.guest = guest.config;
  out.prealloc = source.prealloc;
  out.max_bandwidth = source.max_bandwidth;
  out.downtime_limit_ns = source.downtime_limit_ns;
  out.switch_after_rounds = source.mode == engine::Mode::kPostcopy ? 0 : source.switch_after_rounds;
  out.congestion = migration.congestion;
  out.timeline = migration.timeline;
  return out;
}

}  // namespace godwit::lab
