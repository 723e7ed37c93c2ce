#pragma once

#include <iosfwd>

#include "godwit/json/json.h"

// How a failing test shows JSON. Without this, every file that compares or shows a value would
// compile GoogleTest's printer of it, and with that nlohmann's.

// In the library's namespace, where GoogleTest looks for it.
NLOHMANN_JSON_NAMESPACE_BEGIN
void PrintTo(const godwit::Json& json, std::ostream* out);
std::ostream& operator<<(std::ostream& out, const godwit::Json& json);
NLOHMANN_JSON_NAMESPACE_END
