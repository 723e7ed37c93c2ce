#pragma once

#include <optional>
#include <string>
#include <vector>

#include "godwit/json/json.h"

#include "cli/option_table.h"

namespace godwit::app {

// Options as members of an object: in a request on a control socket, in a scenario of the lab. The
// member of "--max-rounds" is "max_rounds"; its value is the option's text, of a flag true or false.
// What is a number as a text may be one in JSON.

Json members_of(const std::vector<OptionText>& texts);
/// The texts of `options` that have a member, in their order.
std::vector<std::optional<std::string>> texts_in(const Json& object,
                                                 const std::vector<OptionHead>& options);

/// Takes the options that have a member; all others stay as they are, and members that are no
/// options are left out. Errors: kInvalidArgument, which names the option.
template <typename S>
Status read_members(const OptionTable<S>& table, S& into, const Json& object) {
  return table.read(into, texts_in(object, table.heads()));
}

}  // namespace godwit::app
