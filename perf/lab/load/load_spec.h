#pragma once

#include <string>
#include <string_view>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

namespace godwit::lab {

/// What makes a host busy on purpose while a run lasts.
struct LoadSpec {
  unsigned busy = 0;           ///< loops beside the run, each at nice 0
  unsigned quota_percent = 0;  ///< of one core, for all processes of a run together; 0 = no quota
};

/// Reads "150%": one and a half cores. Errors: kInvalidArgument.
Result<unsigned> parse_quota(std::string_view text);

/// Reads a scenario's `load` with one value for each member. Errors: kInvalidArgument, which names
/// `origin` and the member.
Result<LoadSpec> parse_load(const Json& json, const std::string& origin);

/// The member `load` of a row.
Json load_json(const LoadSpec& spec);

/// Sets a member of a scenario's load from text; the value itself is checked by parse_load().
void set_load_member(Json& load, const std::string& member, const std::string& value);

}  // namespace godwit::lab
