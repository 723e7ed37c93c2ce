#pragma once

// Compiled once for all of the command but its command line: what most of its files include. A file
// still includes what it uses, since the presets tidy and fuzz build without this.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/result.h"
#include "godwit/engine/report.h"
#include "godwit/json/json.h"
#include "godwit/json/members.h"
#include "godwit/vmm/guest.h"
