#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace godwit::engine {

/// One table of all rows of the parts, in their order.
template <typename Row, std::size_t... kSizes>
constexpr auto concat(const std::array<Row, kSizes>&... parts) {
  std::array<Row, (kSizes + ...)> table{};
  auto at = table.begin();
  ((at = std::copy(parts.begin(), parts.end(), at)), ...);
  return table;
}

/// The row of a transition table for this pair; null: the event is not legal in this state.
template <typename Table, typename State, typename Event>
const typename Table::value_type* find_row(const Table& table, State from, Event event) {
  for (const auto& row : table) {
    if (row.from == from && row.event == event) {
      return &row;
    }
  }
  return nullptr;
}

}  // namespace godwit::engine
