#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace godwit::lab {

/// Keeps the order in which members were added: rows read from left to right.
using Json = nlohmann::ordered_json;

/// The number at `pointer` ("/bytes/wire") of a document that another process wrote; `fallback`
/// when there is none.
inline double number_at(const Json& json, const char* pointer, double fallback = 0) {
  const Json::json_pointer at(pointer);
  if (!json.contains(at)) {
    return fallback;
  }
  const auto& found = json.at(at);
  return found.is_number() ? found.get<double>() : fallback;
}

inline std::string text_at(const Json& json, const char* pointer) {
  const Json::json_pointer at(pointer);
  if (!json.contains(at)) {
    return {};
  }
  const auto& found = json.at(at);
  return found.is_string() ? found.get<std::string>() : std::string();
}

/// One line; bytes that are no UTF-8 are replaced.
inline std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace godwit::lab
