#include "support/json_view.h"

#include <ostream>
#include <sstream>
#include <utility>

NLOHMANN_JSON_NAMESPACE_BEGIN

void PrintTo(const godwit::Json& value, std::ostream* out) {
  *out << godwit::json_text(value);
}

std::ostream& operator<<(std::ostream& out, const godwit::Json& value) {
  return out << godwit::json_text(value);
}

NLOHMANN_JSON_NAMESPACE_END

namespace godwit::test {

std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (auto json = parse_json(line); !json.is_discarded()) {
      all.push_back(std::move(json));
    }
  }
  return all;
}

}  // namespace godwit::test
