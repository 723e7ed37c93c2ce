#pragma once

#include <cstddef>
#include <span>

// Symbols of image.S.
extern "C" const std::byte godwit_payload_begin[];  // NOLINT(readability-identifier-naming)
extern "C" const std::byte godwit_payload_end[];    // NOLINT(readability-identifier-naming)

namespace godwit::guest {

/// The payload's flat binary, to be placed at kPayloadGpa.
inline std::span<const std::byte> payload_image() {
  return {godwit_payload_begin,
          static_cast<std::size_t>(godwit_payload_end - godwit_payload_begin)};
}

}  // namespace godwit::guest
