#pragma once

#include "godwit/wire/format.h"

#include "fuzz_target.h"

namespace godwit::fuzz {

/// Decodes a body of any type; ends the process when the decoder accepts what no encoder makes.
void check_message(wire::MessageType type, Bytes body);

}  // namespace godwit::fuzz
