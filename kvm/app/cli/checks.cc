#include "cli/checks.h"

#include <algorithm>

#include <fmt/format.h>

#include "godwit/base/units.h"
#include "godwit/net/socket.h"

#include "cli/advice.h"

namespace godwit::app {
namespace {

constexpr std::uint64_t kWorkingSetDefault = 256 * kMiB;

bool writes(vmm::Workload workload) {
  return workload == vmm::Workload::kSequentialWrite || workload == vmm::Workload::kRandomWrite ||
         workload == vmm::Workload::kZipfWrite;
}

}  // namespace

Status finish_guest(GuestSettings& guest) {
  auto& config = guest.config;
  config.memory_bytes = guest.memory_bytes.value_or(kGiB);
  config.populated_bytes = guest.populated_bytes.value_or(config.memory_bytes);
  config.working_set_bytes =
      guest.working_set_bytes.value_or(std::min(kWorkingSetDefault, config.populated_bytes / 2));
  if (auto status = vmm::validate(config); !status) {
    return fail(advised(status.error()));
  }
  if (guest.choice != GuestChoice::kAuto) {
    const auto kind =
        guest.choice == GuestChoice::kKvm ? vmm::GuestKind::kKvm : vmm::GuestKind::kProcess;
    if (auto status = vmm::check_dirty_choice(kind, config.dirty); !status) {
      return fail(advised(status.error()));
    }
  }
  return {};
}

Status check_planted(const MigrationSettings& migration, const vmm::GuestConfig& config) {
  const auto fault = migration.planted.fault;
  const auto mode = migration.source.mode;
  const bool rounds = mode == engine::Mode::kHybrid || mode == engine::Mode::kPrecopy;
  const auto off = [](std::string text) {
    return fail(ErrorCode::kInvalidArgument, "", "--inject " + std::move(text));
  };
  if (fault == PlantedKind::kStalePage && (!rounds || !writes(config.workload))) {
    return off("stale-page: needs a writing --workload and --mode hybrid or precopy");
  }
  if ((fault == PlantedKind::kFaultDelay || fault == PlantedKind::kOutage) &&
      mode != engine::Mode::kHybrid && mode != engine::Mode::kPostcopy) {
    return off(
        fmt::format("{}: needs --mode hybrid or postcopy", kPlantedFaultNames.name_of(fault)));
  }
  if ((fault == PlantedKind::kDropPage || fault == PlantedKind::kFlipBit) &&
      config.fill == vmm::Fill::kZero) {
    return off(fmt::format(
        "{}: needs --fill random, compressible or alternating; a page of zeros has no bytes on "
        "the wire",
        kPlantedFaultNames.name_of(fault)));
  }
  return {};
}

Status check_namespaces(const DemoLine& line) {
  if (line.source_netns == line.target_netns) {
    return {};
  }
  GODWIT_TRY_ASSIGN(const auto address, net::parse_endpoint(line.listen));
  if (address.is_unix() || !address.stays_here()) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "",
              fmt::format("--listen {}: another network namespace does not reach it; give an "
                          "address of the target's, --listen tcp:HOST:0",
                          line.listen));
}

Status finish(RunLine& line) {
  return finish_guest(line.guest);
}

Status finish(ReceiveLine& /*line*/) {
  return {};
}

Status finish(MigrateLine& /*line*/) {
  return {};
}

Status finish(RecoverLine& /*line*/) {
  return {};
}

Status finish(ClientLine& /*line*/) {
  return {};
}

Status finish(DemoLine& line) {
  GODWIT_TRY(finish_guest(line.guest));
  if (!line.to.empty()) {
    if (line.listen != line.to && line.listen != kListenDefault) {
      return fail(ErrorCode::kInvalidArgument,
                  "",
                  "--listen and --to name one address in a demo; give one of them");
    }
    line.listen = line.to;
  }
  GODWIT_TRY(check_namespaces(line));
  return check_planted(line.migration, line.guest.config);
}

}  // namespace godwit::app
