#pragma once

// Compiled once for all of the lab: what most of its files include. A file still includes what it
// uses.

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"
#include "godwit/json/json.h"
