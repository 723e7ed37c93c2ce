#include "godwit/json/json.h"

#include <iterator>

namespace godwit {
namespace {

const Json* member(const Json& json, const char* name) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() ? &*found : nullptr;
}

const Json* at(const Json& json, const char* pointer) {
  const Json::json_pointer place(pointer);
  return json.contains(place) ? &json.at(place) : nullptr;
}

}  // namespace

Json parse_json(std::string_view text, JsonComments comments) {
  return Json::parse(text, nullptr, false, comments == JsonComments::kAllowed);
}

Json parse_json(std::istream& stream, JsonComments comments) {
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  return parse_json(text, comments);
}

BoundedJson parse_json_bounded(std::string_view text, int depth_max) {
  BoundedJson out;
  const auto keep = [&](int depth, Json::parse_event_t, Json&) {
    out.too_deep = out.too_deep || depth > depth_max;
    return !out.too_deep;
  };
  out.json = Json::parse(text, keep, false);
  return out;
}

std::string json_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string plain_text(const Json& json) {
  return json.is_string() ? json.get<std::string>() : json_text(json);
}

std::string text_of(const Json& json, const char* name, std::string fallback) {
  const auto* found = member(json, name);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::move(fallback);
}

bool flag_of(const Json& json, const char* name, bool fallback) {
  const auto* found = member(json, name);
  return found != nullptr && found->is_boolean() ? found->get<bool>() : fallback;
}

Json object_of(const Json& json, const char* name) {
  const auto* found = member(json, name);
  return found != nullptr && found->is_object() ? *found : Json::object();
}

std::optional<json_detail::Number> json_detail::member_number(const Json& json, const char* name) {
  const auto* found = member(json, name);
  if (found == nullptr || !found->is_number()) {
    return std::nullopt;
  }
  Number number;
  number.as_float = found->get<double>();
  if (found->is_number_unsigned()) {
    number.kind = Number::Kind::kUnsigned;
    number.as_unsigned = found->get<std::uint64_t>();
  } else if (found->is_number_integer()) {
    number.as_signed = found->get<std::int64_t>();
  } else {
    number.kind = Number::Kind::kFloat;
  }
  return number;
}

double number_at(const Json& json, const char* pointer, double fallback) {
  const auto* found = at(json, pointer);
  return found != nullptr && found->is_number() ? found->get<double>() : fallback;
}

std::string text_at(const Json& json, const char* pointer) {
  const auto* found = at(json, pointer);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace godwit
