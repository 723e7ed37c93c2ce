#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

namespace godwit::lab {

/// A time in which a link carries nothing, counted from the first packet on it.
struct Stall {
  std::int64_t after_ns = 0;
  std::int64_t for_ns = 0;
};

/// A link between source and target, the same in both directions.
struct LinkSpec {
  std::uint64_t bandwidth_bits_per_s = 0;  ///< 0 = unlimited
  std::int64_t delay_us = 0;               ///< round trip: half of it on each way
  std::int64_t jitter_us = 0;  ///< added to each way, between nothing and this; order is kept
  double loss = 0;             ///< share of packets, 0 to 1
  /// Of the bottleneck, tail drop; never 0 where there is a bandwidth.
  std::uint64_t buffer_bytes = 0;
  std::optional<Stall> stall{};
  std::optional<std::int64_t> cut_after_ns{};  ///< from then on nothing arrives any more
  /// Carried by the emulator; a link of which only the bandwidth is said is the kernel's.
  bool emulated = false;
};

/// Reads "1Gbit", "2.5Gbit", "100Mbit", "64Kbit" or "9600bit": bits per second, powers of 1000.
/// Errors: kInvalidArgument.
Result<std::uint64_t> parse_bandwidth(std::string_view text);

/// Reads a scenario's `link` with one value for each member. Errors: kInvalidArgument, which names
/// `origin` and the member.
Result<LinkSpec> parse_link(const Json& json, const std::string& origin);

/// The member `link` of a row.
Json link_json(const LinkSpec& spec);

/// Sets "bandwidth" or "stall.after_ms" of a scenario's link from text. Errors: kInvalidArgument;
/// the value itself is checked by parse_link().
Status set_link_member(Json& link, const std::string& member, const std::string& value);

}  // namespace godwit::lab
