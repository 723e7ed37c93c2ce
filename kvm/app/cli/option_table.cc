#include "cli/option_table.h"

#include <fmt/format.h>

namespace godwit::app {

std::vector<std::string> words_of(const std::vector<OptionText>& texts) {
  std::vector<std::string> words;
  for (const auto& [option, text] : texts) {
    // In one word, so that a text may begin with a dash.
    words.push_back(option->flag ? option->name : option->name + "=" + text);
  }
  return words;
}

Result<bool> read_flag(const std::string& text) {
  if (text != "true" && text != "false") {
    return fail(
        ErrorCode::kInvalidArgument, "", fmt::format("'{}' is neither true nor false", text));
  }
  return text == "true";
}

Error option_detail::named_error(const OptionHead& option, const Error& error) {
  return make_error(
      ErrorCode::kInvalidArgument, "", fmt::format("{}: {}", option.name, error.message()));
}

}  // namespace godwit::app
