#pragma once

namespace godwit::app {

/// Of the command; the build file says it.
extern const char* const kGodwitVersion;

}  // namespace godwit::app
