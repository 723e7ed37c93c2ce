#pragma once

#include <cmath>
#include <cstdint>
#include <istream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

// Neither << nor parsing from streams: each would compile printer or parser again.
#define JSON_NO_IO
#include <nlohmann/json.hpp>

/// JSON as the command and the lab speak it. Text becomes a value and a value text only in json.cc:
/// whoever includes this compiles neither nlohmann's parser nor its printer, which cost more than
/// everything else that most of these files include. Thread: any; nothing here keeps state.
namespace godwit {

/// Keeps the order in which members were added: reports read top to bottom.
using Json = nlohmann::ordered_json;

enum class JsonComments : std::uint8_t { kRefused = 1, kAllowed };

/// The value of `text`, which is_discarded() when it is no JSON.
Json parse_json(std::string_view text, JsonComments comments = JsonComments::kRefused);
/// The same of all that is left in `stream`.
Json parse_json(std::istream& stream, JsonComments comments = JsonComments::kRefused);

struct BoundedJson {
  Json json;  ///< is_discarded() when the text is no JSON or nests too deeply
  bool too_deep = false;
};
/// The same for what a stranger wrote: the parser gives up below `depth_max` levels.
BoundedJson parse_json_bounded(std::string_view text, int depth_max);

/// One line, or indented by `indent`; bytes that are no UTF-8 (from a guest or a peer) are replaced.
std::string json_text(const Json& json, int indent = -1);

/// A text as it is, anything else as json_text() shows it.
std::string plain_text(const Json& json);

// Members of JSON that another process wrote: absent or of another type reads as the fallback, and
// so does a number that does not fit.

std::string text_of(const Json& json, const char* name, std::string fallback = {});
bool flag_of(const Json& json, const char* name, bool fallback = false);
/// An empty object where there is none.
Json object_of(const Json& json, const char* name);

namespace json_detail {

/// A number of any kind; the widest type of its kind.
struct Number {
  enum class Kind : std::uint8_t { kUnsigned = 1, kSigned, kFloat } kind = Kind::kSigned;
  std::uint64_t as_unsigned = 0;
  std::int64_t as_signed = 0;
  double as_float = 0;
};
std::optional<Number> member_number(const Json& json, const char* name);

}  // namespace json_detail

template <typename T = std::int64_t>
T number_of(const Json& json, const char* name, T fallback = 0) {
  using Kind = json_detail::Number::Kind;
  const auto number = json_detail::member_number(json, name);
  if (!number) {
    return fallback;
  }
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(number->as_float);
  } else if (number->kind == Kind::kUnsigned) {
    return std::in_range<T>(number->as_unsigned) ? static_cast<T>(number->as_unsigned) : fallback;
  } else if (number->kind == Kind::kSigned) {
    return std::in_range<T>(number->as_signed) ? static_cast<T>(number->as_signed) : fallback;
  } else {
    // The first number that is too large.
    const auto end = std::ldexp(1.0, std::numeric_limits<T>::digits);
    return number->as_float >= static_cast<double>(std::numeric_limits<T>::min()) &&
                   number->as_float < end
               ? static_cast<T>(number->as_float)
               : fallback;
  }
}

// The same by JSON pointer ("/bytes/wire"), deep inside a document.

double number_at(const Json& json, const char* pointer, double fallback = 0);
std::string text_at(const Json& json, const char* pointer);

}  // namespace godwit
