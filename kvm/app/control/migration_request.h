#pragma once

#include "godwit/json/json.h"

#include "cli/command_line.h"

namespace godwit::app {

/// What `migrate` and `demo` ask of the process that runs the guest.
struct MigrationRequest {
  std::string to;  ///< tcp:HOST:PORT or unix:PATH
  MigrationSettings settings;
};

Json encode_request(const MigrationRequest& request);
/// Errors: kInvalidArgument.
Result<MigrationRequest> decode_request(const Json& json);

}  // namespace godwit::app
