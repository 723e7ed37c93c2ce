#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace godwit::app {

/// Keeps the order in which members were added: reports read top to bottom.
using Json = nlohmann::ordered_json;

/// One line of text; bytes that are no UTF-8 (from a guest or a peer) are replaced.
inline std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Members of JSON that another process wrote: absent or of another type reads as the fallback.
inline std::string text_of(const Json& json, const char* name, std::string fallback = {}) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() && found->is_string() ? found->get<std::string>() : fallback;
}
template <typename T = std::int64_t>
T number_of(const Json& json, const char* name, T fallback = 0) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() && found->is_number() ? found->get<T>() : fallback;
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
