#include "cli/units_text.h"

#include <array>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "godwit/base/check.h"
#include "godwit/base/units.h"

namespace godwit::app {
namespace {

struct Unit {
  std::string_view suffix;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> kSizeUnits{
    {{"", 1}, {"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}, {"TiB", 1024 * kGiB}}};
constexpr std::array<Unit, 3> kTimeUnits{{{"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}};

tl::unexpected<Error> off(std::string_view text, const char* expected) {
  return fail(ErrorCode::kInvalidArgument, "", fmt::format("'{}' is not {}", text, expected));
}

template <std::size_t N>
Result<std::uint64_t> parse_with_unit(std::string_view text,
                                      const std::array<Unit, N>& units,
                                      std::uint64_t limit,
                                      const char* expected) {
  if (text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9') {
    return fail(
        ErrorCode::kInvalidArgument,
        "",
        fmt::format("'{}' begins with a zero, which some read as octal; leave it out", text));
  }
  std::uint64_t number = 0;
  const auto* end = text.data() + text.size();
  // from_chars takes no sign for unsigned types, no space, and tells of overflow.
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc::result_out_of_range) {
    return fail(ErrorCode::kInvalidArgument, "", fmt::format("'{}' is too large", text));
  }
  if (error != std::errc{}) {
    return off(text, expected);
  }
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  for (const auto& unit : units) {
    if (unit.suffix == suffix) {
      if (number > limit / unit.factor) {
        return fail(ErrorCode::kInvalidArgument, "", fmt::format("'{}' is too large", text));
      }
      return number * unit.factor;
    }
  }
  return off(text, expected);
}

}  // namespace

Result<std::uint64_t> parse_number(std::string_view text) {
  constexpr std::array<Unit, 1> kPlain{{{"", 1}}};
  return parse_with_unit(
      text, kPlain, std::numeric_limits<std::uint64_t>::max(), "an integer of 0 or more");
}

Result<std::uint64_t> parse_size(std::string_view text) {
  return parse_with_unit(text,
                         kSizeUnits,
                         std::numeric_limits<std::uint64_t>::max(),
                         "a size (an integer with KiB, MiB, GiB, TiB, or plain bytes)");
}

Result<std::int64_t> parse_duration(std::string_view text) {
  // A tenth of what an int64_t holds: deadlines are sums with the present time.
  constexpr std::uint64_t kLimit = std::numeric_limits<std::int64_t>::max() / 10;
  GODWIT_TRY_ASSIGN(
      const auto ns,
      parse_with_unit(text,
                      kTimeUnits,
                      kLimit,
                      "a duration (an integer with us, ms or s; the unit is required)"));
  return static_cast<std::int64_t>(ns);
}

std::string duration_option(std::int64_t ns) {
  GODWIT_CHECK(ns >= 0 && static_cast<std::uint64_t>(ns) % kTimeUnits.front().factor == 0);
  const auto* unit = &kTimeUnits.front();
  for (const auto& larger : kTimeUnits) {
    unit = ns != 0 && static_cast<std::uint64_t>(ns) % larger.factor == 0 ? &larger : unit;
  }
  return fmt::format("{}{}", static_cast<std::uint64_t>(ns) / unit->factor, unit->suffix);
}

std::string size_text(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= kGiB) {
    return fmt::format("{:.2f} GiB", value / static_cast<double>(kGiB));
  }
  if (bytes >= kMiB) {
    return fmt::format("{:.1f} MiB", value / static_cast<double>(kMiB));
  }
  if (bytes >= kKiB) {
    return fmt::format("{:.1f} KiB", value / static_cast<double>(kKiB));
  }
  return fmt::format("{} B", bytes);
}

std::string duration_text(std::int64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns >= 1'000'000'000) {
    return fmt::format("{:.2f} s", value / 1e9);
  }
  if (ns >= 1'000'000) {
    return fmt::format("{:.2f} ms", value / 1e6);
  }
  return fmt::format("{:.1f} us", value / 1e3);
}

}  // namespace godwit::app
