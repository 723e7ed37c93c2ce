#include "cli/codecs.h"

#include <filesystem>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "godwit/net/socket.h"
#include "godwit/net/transport.h"
#include "godwit/wire/codec.h"

#include "cli/units_text.h"

namespace godwit::app {
namespace {

tl::unexpected<Error> off(std::string text) {
  return fail(ErrorCode::kInvalidArgument, "", std::move(text));
}

Result<std::string> read_text(const std::string& text) {
  if (text.empty()) {
    return off("must not be empty");
  }
  return text;
}

std::string as_it_is(const std::string& text) {
  return text;
}

template <std::uint32_t kMost>
Result<std::uint32_t> read_count(const std::string& text) {
  GODWIT_TRY_ASSIGN(const auto number, parse_number(text));
  if (number < 1 || number > kMost) {
    return off(fmt::format("'{}' is not in 1..{}", text, kMost));
  }
  return static_cast<std::uint32_t>(number);
}

Result<std::uint64_t> read_number(const std::string& text) {
  return parse_number(text);
}

Result<std::uint64_t> read_size(const std::string& text) {
  return parse_size(text);
}

template <typename T>
std::string write_number(const T& number) {
  return std::to_string(number);
}

Result<std::int64_t> read_duration(const std::string& text) {
  return parse_duration(text);
}

Result<std::int64_t> read_positive_duration(const std::string& text) {
  GODWIT_TRY_ASSIGN(const auto ns, parse_duration(text));
  if (ns == 0) {
    return off("must be more than nothing");
  }
  return ns;
}

std::string write_duration(const std::int64_t& ns) {
  return duration_option(ns);
}

/// "unix:PATH" with an absolute path: who connects may have another working directory.
Result<std::string> read_unix_endpoint(const std::string& path) {
  std::error_code error;
  const auto absolute = path.empty() ? path : std::filesystem::absolute(path, error).string();
  GODWIT_TRY_ASSIGN(const auto address, net::parse_endpoint("unix:" + (error ? path : absolute)));
  return net::format_endpoint(address);
}

/// An endpoint in full; an empty host is this machine alone.
Result<std::string> read_endpoint(const std::string& text) {
  constexpr std::string_view kScheme = "tcp:";
  constexpr std::string_view kUnixScheme = "unix:";
  if (text.rfind(kUnixScheme, 0) == 0) {
    return read_unix_endpoint(text.substr(kUnixScheme.size()));
  }
  if (text.rfind(kScheme, 0) != 0) {
    return off(fmt::format("'{}' is neither tcp:HOST:PORT nor unix:PATH", text));
  }
  auto rest = text.substr(kScheme.size());
  if (!rest.empty() && rest[0] == ':') {
    rest = "127.0.0.1" + rest;
  } else if (rest.find(':') == std::string::npos) {
    rest = "127.0.0.1:" + rest;
  }
  GODWIT_TRY_ASSIGN(const auto address, net::parse_address(rest));
  return net::format_endpoint(address);
}

Result<std::string> read_congestion(const std::string& text) {
  if (!net::kCongestionNames.parse(text)) {
    return unknown_name(text, net::kCongestionNames.choices());
  }
  return text;
}

Result<PageId> read_page(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) {
    return off("is not REGION:PAGE");
  }
  GODWIT_TRY_ASSIGN(const auto region, parse_number(text.substr(0, colon)));
  GODWIT_TRY_ASSIGN(const auto page, parse_number(text.substr(colon + 1)));
  if (region > std::numeric_limits<RegionIndex>::max()) {
    return off(fmt::format("'{}' is too large", text));
  }
  return PageId{static_cast<RegionIndex>(region), page};
}

std::string write_page(const PageId& page) {
  return fmt::format("{}:{}", page.region, page.index);
}

bool has_delay(PlantedKind fault) {
  return fault == PlantedKind::kBlackoutDelay || fault == PlantedKind::kFaultDelay ||
         fault == PlantedKind::kOutage;
}

Result<PlantedFault> read_planted_fault(const std::string& text) {
  const auto equals = text.find('=');
  const auto fault = kPlantedFaultNames.parse(text.substr(0, equals));
  if (!fault || has_delay(*fault) != (equals != std::string::npos)) {
    std::string choices;
    for (const auto& [possible, name] : kPlantedFaultNames.entries()) {
      choices += (choices.empty() ? "" : ", ") + std::string(name);
      choices += has_delay(possible) ? "=D" : "";
    }
    return unknown_name(text, choices);
  }
  PlantedFault planted{*fault};
  if (has_delay(*fault)) {
    GODWIT_TRY_ASSIGN(planted.delay_ns, parse_duration(text.substr(equals + 1)));
  }
  return planted;
}

std::string write_planted_fault(const PlantedFault& planted) {
  if (planted.fault == PlantedKind::kNone) {
    return {};
  }
  const std::string name = kPlantedFaultNames.name_of(planted.fault);
  return has_delay(planted.fault) ? name + "=" + duration_option(planted.delay_ns) : name;
}

}  // namespace

tl::unexpected<Error> unknown_name(const std::string& text, const std::string& choices) {
  return off(fmt::format("'{}' is unknown; possible: {}", text, choices));
}

const Codec<std::string> kText{read_text, as_it_is};
const Codec<std::uint64_t> kNumber{read_number, write_number};
const Codec<std::uint64_t> kSize{read_size, write_number};
const Codec<std::uint32_t> kCount{read_count<1'000'000>, write_number};
const Codec<std::uint32_t> kChannelCount{read_count<wire::kMaxBulkChannels>, write_number};
const Codec<std::int64_t> kDuration{read_duration, write_duration};
const Codec<std::int64_t> kPositiveDuration{read_positive_duration, write_duration};
const Codec<std::string> kEndpoint{read_endpoint, as_it_is};
const Codec<std::string> kCongestion{read_congestion, as_it_is};
const Codec<PageId> kPage{read_page, write_page};
const Codec<PlantedFault> kPlantedFault{read_planted_fault, write_planted_fault};

}  // namespace godwit::app
