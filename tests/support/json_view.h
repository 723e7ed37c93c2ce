#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "godwit/json/json.h"

// How a failing test shows JSON. Without this, every file that compares or shows a value would
// compile GoogleTest's printer of it, and with that nlohmann's.

// In the library's namespace, where GoogleTest looks for it.
NLOHMANN_JSON_NAMESPACE_BEGIN
void PrintTo(const godwit::Json& value, std::ostream* out);
std::ostream& operator<<(std::ostream& out, const godwit::Json& value);
NLOHMANN_JSON_NAMESPACE_END

namespace godwit::test {

/// Every line of `text` that is JSON: the rows of a lab. The last may be cut short.
std::vector<Json> json_lines(const std::string& text);

}  // namespace godwit::test
