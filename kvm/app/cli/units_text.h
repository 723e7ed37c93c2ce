#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "godwit/base/result.h"

namespace godwit::app {

/// Reads an integer without sign. Errors: kInvalidArgument (also on overflow).
Result<std::uint64_t> parse_number(std::string_view text);
/// Reads an integer with KiB, MiB, GiB, TiB or no unit (bytes). Errors: kInvalidArgument.
Result<std::uint64_t> parse_size(std::string_view text);
/// Reads an integer with us, ms or s; the unit is required. Units: ns. Errors: kInvalidArgument.
Result<std::int64_t> parse_duration(std::string_view text);

/// A duration as parse_duration() reads it, in the largest unit that says it exactly.
/// Requires: whole microseconds, as all that was read has.
std::string duration_option(std::int64_t ns);

/// For people: "1.5 GiB", "12.3 ms". Units: bytes; ns.
std::string size_text(std::uint64_t bytes);
std::string duration_text(std::int64_t ns);

}  // namespace godwit::app
