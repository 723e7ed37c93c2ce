#include "cli/version.h"

namespace godwit::app {

const char* const kGodwitVersion = GODWIT_VERSION;

}  // namespace godwit::app
