#include "control/requests.h"

#include "cli/option_json.h"
#include "cli/options.h"

namespace godwit::app {

Json encode_request(const MigrationRequest& request) {
  const auto options = request_options();
  Json json;
  json["command"] = "migrate";
  json["to"] = request.to;
  json["options"] = members_of(options.texts(request.settings));
  json["trace"] = request.trace;
  return json;
}

Result<MigrationRequest> decode_request(const Json& json) {
  MigrationRequest request;
  request.to = text_of(json, "to");
  if (auto read = read_members(request_options(), request.settings, object_of(json, "options"));
      !read) {
    return fail(ErrorCode::kInvalidArgument, "migrate", read.error().message());
  }
  request.trace = flag_of(json, "trace");
  return request;
}

}  // namespace godwit::app
