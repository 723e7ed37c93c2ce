#include "load/load_spec.h"

#include <charconv>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

constexpr unsigned kBusyMax = 256;
/// The kernel gives no less than 1 ms of its period of 100 ms.
constexpr unsigned kPercentMin = 1;
constexpr unsigned kPercentMax = 100'000;

tl::unexpected<Error> bad(const std::string& origin, const std::string& what) {
  return fail(ErrorCode::kInvalidArgument, "load", fmt::format("{}: {}", origin, what));
}

}  // namespace

Result<unsigned> parse_quota(std::string_view text) {
  unsigned percent = 0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, percent);
  if (error != std::errc() || std::string_view(rest, static_cast<std::size_t>(end - rest)) != "%" ||
      percent < kPercentMin || percent > kPercentMax) {
    return fail(
        ErrorCode::kInvalidArgument,
        "load",
        fmt::format("'{}' is no quota of CPU time; such is 150%, of one core, from {}% to {}%",
                    text,
                    kPercentMin,
                    kPercentMax));
  }
  return percent;
}

Result<LoadSpec> parse_load(const Json& json, const std::string& origin) {
  if (!json.is_object()) {
    return bad(origin, "'load' is no object");
  }
  LoadSpec spec;
  for (const auto& [name, value] : json.items()) {
    if (name == "busy") {
      if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
          value.get<std::int64_t>() > kBusyMax) {
        return bad(origin, fmt::format("'busy' is no whole number from 0 to {}", kBusyMax));
      }
      spec.busy = value.get<unsigned>();
    } else if (name == "cpu_quota") {
      if (!value.is_string()) {
        return bad(origin, "'cpu_quota' is a text such as \"150%\"");
      }
      const auto percent = parse_quota(value.get<std::string>());
      if (!percent) {
        return bad(origin, percent.error().detail);
      }
      spec.quota_percent = *percent;
    } else {
      return bad(origin, fmt::format("member '{}' of 'load' is unknown", name));
    }
  }
  return spec;
}

Json load_json(const LoadSpec& spec) {
  return {{"busy", spec.busy}, {"cpu_quota_percent", spec.quota_percent}};
}

void set_load_member(Json& load, const std::string& member, const std::string& value) {
  if (!load.is_object()) {
    load = Json::object();
  }
  const auto parsed = parse_json(value);
  load[member] = parsed.is_number() ? parsed : Json(value);
}

}  // namespace godwit::lab
