#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "godwit/json/json.h"

namespace godwit::lab {

enum class Unit : std::uint8_t { kNs = 1, kBytes, kBytesPerS, kCount, kShare };

/// One number that is taken from the report of a run.
struct Figure {
  const char* name;
  Unit unit;
  /// Nothing when this run has no such figure (no floors measured, no fault happened).
  std::optional<double> (*of)(const Json& report);
};

/// Every figure, in the order in which tables show them.
std::span<const Figure> figures();
const Figure* find_figure(std::string_view name);

/// All figures of a report that it has: {"total_ns": 123, ...}.
Json figures_of(const Json& report);

/// For people: "1.25 GiB/s", "3.4 ms".
std::string figure_text(Unit unit, double value);

/// Why a run does not count: empty when it was verified. `report` is what `godwit demo --json`
/// printed.
std::string unverified_reason(int exit_code, const Json& report);

}  // namespace godwit::lab
