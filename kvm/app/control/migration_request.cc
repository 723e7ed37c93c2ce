#include "control/migration_request.h"

#include <limits>

#include <fmt/format.h>

#include "godwit/wire/codec.h"

namespace godwit::app {
namespace {

// As on the command line: deadlines are sums with the present time.
constexpr std::int64_t kDurationNsMax = std::numeric_limits<std::int64_t>::max() / 10;

/// The line may come from any process of this user; what the command line would refuse is refused
/// here too.
Status check_request(const MigrationRequest& request) {
  const auto& source = request.settings.source;
  const auto off = [](const char* option, auto value) {
    return fail(ErrorCode::kInvalidArgument, "migrate", fmt::format("{} is {}", option, value));
  };
  if (source.switch_after_rounds < 1) {
    return off("switch_after_rounds", source.switch_after_rounds);
  }
  if (source.max_rounds < 1) {
    return off("max_rounds", source.max_rounds);
  }
  if (source.downtime_limit_ns < 0 || source.downtime_limit_ns > kDurationNsMax) {
    return off("downtime_limit_ns", source.downtime_limit_ns);
  }
  if (source.timeout_ns < 1 || source.timeout_ns > kDurationNsMax) {
    return off("timeout_ns", source.timeout_ns);
  }
  const auto delay_ns = request.settings.inject.delay_ns;
  if (delay_ns < 0 || delay_ns > kDurationNsMax) {
    return off("inject_delay_ns", delay_ns);
  }
  return {};
}

}  // namespace

Json encode_request(const MigrationRequest& request) {
  const auto& source = request.settings.source;
  Json options;
  options["mode"] = engine::mode_name(source.mode);
  options["switch_after_rounds"] = source.switch_after_rounds;
  options["max_rounds"] = source.max_rounds;
  options["downtime_limit_ns"] = source.downtime_limit_ns;
  options["force"] = source.on_no_convergence == engine::OnNoConvergence::kForce;
  options["max_bandwidth"] = source.max_bandwidth;
  options["channels"] = source.channels;
  options["prealloc"] = source.prealloc;
  options["checksum"] = source.checksum;
  options["timeout_ns"] = source.timeout_ns;
  options["congestion"] = request.settings.congestion;
  if (request.settings.transport) {
    options["transport"] = transport_choice_name(*request.settings.transport);
  }
  options["floors"] = request.settings.floors;
  options["timeline"] = request.settings.timeline;
  options["trace"] = request.settings.trace;
  if (request.settings.inject.fault != engine::InjectedFault::kNone) {
    options["inject"] = static_cast<int>(request.settings.inject.fault);
    options["inject_delay_ns"] = request.settings.inject.delay_ns;
  }
  Json json;
  json["command"] = "migrate";
  json["to"] = request.to;
  json["options"] = std::move(options);
  return json;
}

Result<MigrationRequest> decode_request(const Json& json) {
  MigrationRequest request;
  request.to = text_of(json, "to");
  const auto options = object_of(json, "options");
  auto& source = request.settings.source;
  GODWIT_TRY_ASSIGN(source.mode, parse_mode(text_of(options, "mode", "hybrid")));
  source.switch_after_rounds =
      number_of(options, "switch_after_rounds", source.switch_after_rounds);
  source.max_rounds = number_of(options, "max_rounds", source.max_rounds);
  source.downtime_limit_ns = number_of(options, "downtime_limit_ns", source.downtime_limit_ns);
  source.on_no_convergence = flag_of(options, "force", true) ? engine::OnNoConvergence::kForce
                                                             : engine::OnNoConvergence::kFail;
  source.max_bandwidth = number_of(options, "max_bandwidth", source.max_bandwidth);
  source.channels = number_of(options, "channels", source.channels);
  if (source.channels < 1 || source.channels > wire::kMaxBulkChannels) {
    return fail(ErrorCode::kInvalidArgument, "migrate", "channels are outside 1..64");
  }
  source.prealloc = flag_of(options, "prealloc");
  source.checksum = flag_of(options, "checksum", true);
  source.timeout_ns = number_of(options, "timeout_ns", source.timeout_ns);
  request.settings.congestion = text_of(options, "congestion", "auto");
  if (const auto transport = text_of(options, "transport"); !transport.empty()) {
    GODWIT_TRY_ASSIGN(request.settings.transport, parse_transport(transport));
  }
  request.settings.floors = flag_of(options, "floors");
  request.settings.timeline = flag_of(options, "timeline");
  request.settings.trace = flag_of(options, "trace");
  const auto fault = number_of<int>(options, "inject", 0);
  if (fault < 0 || fault > static_cast<int>(engine::InjectedFault::kCutAfterCommit)) {
    return fail(ErrorCode::kInvalidArgument, "migrate", "unknown fault");
  }
  request.settings.inject.fault = static_cast<engine::InjectedFault>(fault);
  request.settings.inject.delay_ns = number_of(options, "inject_delay_ns");
  GODWIT_TRY(check_request(request));
  return request;
}

}  // namespace godwit::app
