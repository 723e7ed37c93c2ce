#pragma once

#include "godwit/base/error.h"

namespace godwit::app {

/// The libraries say what is wrong; this says what a user of the command can do about it, in the
/// words of its options. An error that no option helps with is returned as it is.
Error advised(Error error);

}  // namespace godwit::app
