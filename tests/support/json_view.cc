#include "support/json_view.h"

#include <ostream>

NLOHMANN_JSON_NAMESPACE_BEGIN

void PrintTo(const godwit::Json& json, std::ostream* out) {
  *out << godwit::json_text(json);
}

std::ostream& operator<<(std::ostream& out, const godwit::Json& json) {
  return out << godwit::json_text(json);
}

NLOHMANN_JSON_NAMESPACE_END
