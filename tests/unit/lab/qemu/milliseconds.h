#pragma once

#include <cstdint>

namespace godwit::lab {

inline constexpr std::int64_t kMs = 1'000'000;  ///< ns

}  // namespace godwit::lab
