#pragma once

namespace godwit::engine {

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
