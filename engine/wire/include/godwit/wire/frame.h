#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/wire/format.h"

namespace godwit::wire {

/// Computes header_hash. Call last: any later change of a field makes the header invalid.
void seal_header(FrameHeader& header);

/// The 64 bytes of a header, ready to send.
[[nodiscard]] inline std::span<const std::byte, kHeaderBytes> header_bytes(
    const FrameHeader& header) {
  return std::as_bytes(std::span<const FrameHeader, 1>(&header, 1));
}

/// Checks everything a header says about itself. Any protocol version but 0 passes: which one is
/// legal depends on the conversation (FrameReader::set_version). Errors: kChecksum for a damaged
/// header; kProtocol for a wrong marker, type, flag, reserved byte or body length.
[[nodiscard]] Result<FrameHeader> parse_header(std::span<const std::byte, kHeaderBytes> bytes);

/// Checks the length and hash of a body, whose end may lie elsewhere (`rest`), against its header.
/// Errors: kProtocol, kChecksum; the text
/// of the latter names the pages of a PAGES frame, as far as the damaged body still tells ("region
/// 0 pages 512-575").
[[nodiscard]] Status verify_body(const FrameHeader& header,
                                 std::span<const std::byte> body,
                                 std::span<const std::byte> rest = {});

/// Makes the frames of one direction of one channel, and keeps their sequence number.
/// Thread: one at a time. A frame that was made must be sent, in order, or the peer sees a hole.
class FrameWriter {
 public:
  explicit FrameWriter() = default;
  void set_epoch(std::uint32_t epoch) { epoch_ = epoch; }
  void set_version(std::uint16_t version) { version_ = version; }

  /// Header and body in one piece. Requires: `body` is within body_limits(type).
  [[nodiscard]] std::vector<std::byte> frame(MessageType type,
                                             std::span<const std::byte> body,
                                             std::uint32_t flags = 0);

  /// The sealed header of a frame whose body the caller sends itself, from where it lies. Counts as
  /// a frame made. Requires: `body_length` is within body_limits(type); `body_hash` is hash64 of
  /// the body, 0 for an empty one or with kNoBodyHash.
  [[nodiscard]] FrameHeader header_for(MessageType type,
                                       std::uint32_t body_length,
                                       std::uint64_t body_hash,
                                       std::uint32_t flags = 0);

 private:
  std::uint64_t sequence_ = 0;
  std::uint32_t epoch_ = 0;
  std::uint16_t version_ = kProtocolVersion;
};

}  // namespace godwit::wire
