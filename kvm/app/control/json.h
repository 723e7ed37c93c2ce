#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include <nlohmann/json.hpp>

namespace godwit::app {

/// Keeps the order in which members were added: reports read top to bottom.
using Json = nlohmann::ordered_json;

/// One line of text; bytes that are no UTF-8 (from a guest or a peer) are replaced.
inline std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Members of JSON that another process wrote: absent or of another type reads as the fallback, and
// so does a number that does not fit.
inline std::string text_of(const Json& json, const char* name, std::string fallback = {}) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() && found->is_string() ? found->get<std::string>()
                                                   : std::move(fallback);
}
template <typename T = std::int64_t>
T number_of(const Json& json, const char* name, T fallback = 0) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  if (found == json.end() || !found->is_number()) {
    return fallback;
  }
  if constexpr (std::is_floating_point_v<T>) {
    return found->get<T>();
  } else if (found->is_number_unsigned()) {
    const auto value = found->get<std::uint64_t>();
    return std::in_range<T>(value) ? static_cast<T>(value) : fallback;
  } else if (found->is_number_integer()) {
    const auto value = found->get<std::int64_t>();
    return std::in_range<T>(value) ? static_cast<T>(value) : fallback;
  } else {
    const auto value = found->get<double>();
    // The first that is too large.
    const auto end = std::ldexp(1.0, std::numeric_limits<T>::digits);
    return value >= static_cast<double>(std::numeric_limits<T>::min()) && value < end
               ? static_cast<T>(value)
               : fallback;
  }
}
inline bool flag_of(const Json& json, const char* name, bool fallback = false) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() && found->is_boolean() ? found->get<bool>() : fallback;
}
inline Json object_of(const Json& json, const char* name) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() && found->is_object() ? Json(*found) : Json::object();
}

}  // namespace godwit::app
