#pragma once

#include <string>

#include "godwit/json/json.h"

#include "cli/settings.h"

namespace godwit::app {

/// What `migrate` and `demo` ask of the process that runs the guest.
struct MigrationRequest {
  std::string to;  ///< tcp:HOST:PORT or unix:PATH
  MigrationSettings settings;
  bool trace = false;  ///< the answer brings the trace too
};

Json encode_request(const MigrationRequest& request);
/// What the command line would refuse is refused here too: the request may come from any process of
/// this user. Errors: kInvalidArgument.
Result<MigrationRequest> decode_request(const Json& json);

}  // namespace godwit::app
