#include "link/link_spec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

constexpr double kBandwidthMax = 400e9;
constexpr std::int64_t kDelayMaxUs = 10'000'000;
constexpr std::int64_t kTimeMaxMs = 3'600'000;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kBufferMin = 2048;  ///< a packet fits
constexpr std::uint64_t kBufferMax = 1ULL << 30;
/// Where no buffer is said: what is under way on the link, and never less than a small switch has.
constexpr std::uint64_t kUsualBuffer = 256 << 10;
constexpr std::int64_t kUsualBufferUs = 1000;

tl::unexpected<Error> bad(const std::string& origin, const std::string& what) {
  return fail(ErrorCode::kInvalidArgument, "link", fmt::format("{}: {}", origin, what));
}

Result<std::int64_t> whole(const Json& json,
                           const std::string& member,
                           std::int64_t least,
                           std::int64_t most,
                           const std::string& origin) {
  const bool fits = json.is_number_integer() && json.get<std::int64_t>() >= least &&
                    json.get<std::int64_t>() <= most;
  if (!fits) {
    return bad(origin, fmt::format("'{}' is no whole number in {}..{}", member, least, most));
  }
  return json.get<std::int64_t>();
}

Result<Stall> parse_stall(const Json& json, const std::string& origin) {
  if (!json.is_object() || json.size() != 2 || !json.contains("after_ms") ||
      !json.contains("for_ms")) {
    return bad(origin, "'stall' needs 'after_ms' and 'for_ms', and nothing else");
  }
  GODWIT_TRY_ASSIGN(const auto after,
                    whole(json.at("after_ms"), "stall.after_ms", 0, kTimeMaxMs, origin));
  GODWIT_TRY_ASSIGN(const auto time,
                    whole(json.at("for_ms"), "stall.for_ms", 1, kTimeMaxMs, origin));
  return Stall{after * kNsPerMs, time * kNsPerMs};
}

Status parse_member(LinkSpec& spec,
                    const std::string& name,
                    const Json& value,
                    const std::string& origin) {
  spec.emulated = spec.emulated || name != "bandwidth";
  if (name == "bandwidth") {
    if (!value.is_string()) {
      return bad(origin, "'bandwidth' is a text such as \"1Gbit\"");
    }
    auto bits = parse_bandwidth(value.get<std::string>());
    if (!bits) {
      return bad(origin, bits.error().detail);
    }
    spec.bandwidth_bits_per_s = *bits;
  } else if (name == "delay_us") {
    GODWIT_TRY_ASSIGN(spec.delay_us, whole(value, name, 0, kDelayMaxUs, origin));
  } else if (name == "jitter_us") {
    GODWIT_TRY_ASSIGN(spec.jitter_us, whole(value, name, 0, kDelayMaxUs, origin));
  } else if (name == "loss") {
    if (!value.is_number() || value.get<double>() < 0 || value.get<double>() > 1) {
      return bad(origin, "'loss' is a share in 0..1");
    }
    spec.loss = value.get<double>();
  } else if (name == "buffer_bytes") {
    GODWIT_TRY_ASSIGN(const auto bytes, whole(value, name, kBufferMin, kBufferMax, origin));
    spec.buffer_bytes = static_cast<std::uint64_t>(bytes);
  } else if (name == "stall") {
    GODWIT_TRY_ASSIGN(spec.stall, parse_stall(value, origin));
  } else if (name == "cut_after_ms") {
    GODWIT_TRY_ASSIGN(const auto after, whole(value, name, 0, kTimeMaxMs, origin));
    spec.cut_after_ns = after * kNsPerMs;
  } else {
    return bad(origin, fmt::format("member '{}' is unknown", name));
  }
  return {};
}

}  // namespace

Result<std::uint64_t> parse_bandwidth(std::string_view text) {
  struct Unit {
    std::string_view name;
    double factor;
  };
  static constexpr std::array kUnits{
      Unit{"Gbit", 1e9}, Unit{"Mbit", 1e6}, Unit{"Kbit", 1e3}, Unit{"bit", 1}};
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  const auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const auto* const found =
      std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& one) { return one.name == unit; });
  const double bits = found == kUnits.end() ? 0 : std::round(number * found->factor);
  if (error != std::errc() || !(bits >= 1000 && bits <= kBandwidthMax)) {
    return fail(ErrorCode::kInvalidArgument,
                "bandwidth",
                fmt::format("'{}' is no bandwidth; such is 1Gbit, 2.5Gbit, 100Mbit or 64Kbit, from "
                            "1Kbit to 400Gbit",
                            text));
  }
  return static_cast<std::uint64_t>(bits);
}

Result<LinkSpec> parse_link(const Json& json, const std::string& origin) {
  if (!json.is_object()) {
    return bad(origin, "'link' is no object");
  }
  LinkSpec spec;
  for (const auto& [name, value] : json.items()) {
    GODWIT_TRY(parse_member(spec, name, value, origin));
  }
  if (spec.buffer_bytes != 0 && spec.bandwidth_bits_per_s == 0) {
    return bad(origin, "'buffer_bytes' needs a 'bandwidth': nothing waits without a bottleneck");
  }
  if (spec.buffer_bytes == 0 && spec.bandwidth_bits_per_s != 0) {
    const auto us = static_cast<std::uint64_t>(std::max(spec.delay_us, kUsualBufferUs));
    spec.buffer_bytes =
        std::clamp(spec.bandwidth_bits_per_s / 8'000 * us / 1000, kUsualBuffer, kBufferMax);
  }
  return spec;
}

Json link_json(const LinkSpec& spec) {
  Json json{{"bandwidth_bits_per_s", spec.bandwidth_bits_per_s},
            {"delay_us", spec.delay_us},
            {"jitter_us", spec.jitter_us},
            {"loss", spec.loss},
            {"buffer_bytes", spec.buffer_bytes},
            {"emulated", spec.emulated}};
  if (spec.stall) {
    json["stall"] = {{"after_ms", spec.stall->after_ns / kNsPerMs},
                     {"for_ms", spec.stall->for_ns / kNsPerMs}};
  }
  if (spec.cut_after_ns) {
    json["cut_after_ms"] = *spec.cut_after_ns / kNsPerMs;
  }
  return json;
}

Status set_link_member(Json& link, const std::string& member, const std::string& value) {
  if (!link.is_object()) {
    link = Json::object();
  }
  // "100" and "0.01" are numbers; "1Gbit" is none and stays a text.
  auto parsed = parse_json(value);
  if (parsed.is_discarded() || !parsed.is_number()) {
    parsed = value;
  }
  const auto dot = member.find('.');
  if (dot == std::string::npos) {
    link[member] = parsed;
    return {};
  }
  if (member.substr(0, dot) != "stall") {
    return bad("link." + member, "only 'stall' has members of its own");
  }
  link["stall"][member.substr(dot + 1)] = parsed;
  return {};
}

}  // namespace godwit::lab
