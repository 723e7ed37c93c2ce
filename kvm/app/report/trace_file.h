#pragma once

#include <string>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

namespace godwit::app {

/// Whether a trace can be written to `path`, as far as this can be told before there is one: a
/// file beside it is made and removed. Errors: kIo (also when there is something that is no file),
/// kPermission.
Status check_trace_path(const std::string& path);

/// Writes all of `trace`, or leaves `path` as it was. Errors: kIo, kPermission.
Status write_trace(const std::string& path, const Json& trace);

/// The exit code of a command that was to write `trace` beside its result: `code`, unless it would
/// claim success for a trace that is not there. Says on stderr what went wrong.
int keep_trace(const std::string& path, const Result<Json>& trace, int code);

/// Errors: kIo; kProtocol when the file holds no JSON object.
Result<Json> read_trace(const std::string& path);

}  // namespace godwit::app
