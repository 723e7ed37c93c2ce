#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/wire/format.h"

namespace godwit::wire {

/// One frame that docs/protocol.md shows byte by byte.
struct GoldenFrame {
  std::string name;  ///< of the example in the document
  MessageType type;
  std::vector<std::byte> bytes;
};

/// Every example, made by the encoder; at least one for each message type.
std::vector<GoldenFrame> golden_frames();

/// Decodes a body and encodes what came out. Errors: those of the decoder.
Result<std::vector<std::byte>> reencode(MessageType type, std::span<const std::byte> body);

}  // namespace godwit::wire
