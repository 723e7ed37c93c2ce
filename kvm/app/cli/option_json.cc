#include "cli/option_json.h"

#include <algorithm>

namespace godwit::app {
namespace {

std::string member_name(const OptionHead& option) {
  auto name = option.name.substr(2);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace

Json members_of(const std::vector<OptionText>& texts) {
  auto object = Json::object();
  for (const auto& [option, text] : texts) {
    object[member_name(*option)] = option->flag ? Json(text == "true") : Json(text);
  }
  return object;
}

std::vector<std::optional<std::string>> texts_in(const Json& object,
                                                 const std::vector<OptionHead>& options) {
  std::vector<std::optional<std::string>> texts;
  for (const auto& option : options) {
    const auto found = object.is_object() ? object.find(member_name(option)) : object.end();
    texts.push_back(found != object.end() ? std::optional(plain_text(*found)) : std::nullopt);
  }
  return texts;
}

}  // namespace godwit::app
