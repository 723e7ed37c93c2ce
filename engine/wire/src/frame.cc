#include "godwit/wire/frame.h"

#include <cstring>

#include <fmt/format.h>

#include "godwit/base/check.h"
#include "godwit/wire/checksum.h"

#include "page_names.h"

namespace godwit::wire {
namespace {

constexpr const char* kOperation = "frame header";

std::uint64_t hash_of(const FrameHeader& header) {
  return hash64(header_bytes(header).first<offsetof(FrameHeader, header_hash)>());
}

}  // namespace

void seal_header(FrameHeader& header) {
  header.header_hash = hash_of(header);
}

Result<FrameHeader> parse_header(std::span<const std::byte, kHeaderBytes> bytes) {
  FrameHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  // The marker goes first, so that a peer that speaks something else is told apart from a damaged
  // frame.
  if (header.begin != kBeginMarker) {
    return fail(ErrorCode::kProtocol,
                kOperation,
                fmt::format("not a godwit frame: begins with {:#010x}", header.begin));
  }
  if (header.header_hash != hash_of(header)) {
    return fail(
        ErrorCode::kChecksum, kOperation, "header damaged in flight: its hash does not match");
  }
  if (header.version == 0) {
    return fail(ErrorCode::kProtocol, kOperation, "protocol version 0 is invalid");
  }
  const auto number = static_cast<unsigned>(header.type);
  if (number == 0 || number >= kMessageTypeEnd) {
    return fail(
        ErrorCode::kProtocol,
        kOperation,
        fmt::format("unknown message type {} (protocol version {})", number, header.version));
  }
  const auto name = message_type_name(header.type);
  const std::uint32_t legal_flags = header.type == MessageType::kPages ? kNoBodyHash : 0;
  if ((header.flags & ~legal_flags) != 0) {
    return fail(ErrorCode::kProtocol,
                kOperation,
                fmt::format("{}: illegal flags {:#x}", name, header.flags & ~legal_flags));
  }
  if (header.reserved0 != 0 || header.reserved1[0] != 0 || header.reserved1[1] != 0) {
    return fail(
        ErrorCode::kProtocol, kOperation, fmt::format("{}: reserved bytes are not zero", name));
  }
  const auto limits = body_limits(header.type);
  if (header.body_length < limits.min || header.body_length > limits.max) {
    return fail(ErrorCode::kProtocol,
                kOperation,
                fmt::format("{}: body of {} bytes is outside {}-{}",
                            name,
                            header.body_length,
                            limits.min,
                            limits.max));
  }
  const bool hashed = header.body_length != 0 && (header.flags & kNoBodyHash) == 0;
  if (!hashed && header.body_hash != 0) {
    return fail(ErrorCode::kProtocol,
                kOperation,
                fmt::format("{}: a body hash where there is nothing to hash", name));
  }
  return header;
}

Status verify_body(const FrameHeader& header,
                   std::span<const std::byte> body,
                   std::span<const std::byte> rest) {
  const auto length = body.size() + rest.size();
  if (length != header.body_length) {
    return fail(ErrorCode::kProtocol,
                "frame body",
                fmt::format("{} bytes where the header says {}", length, header.body_length));
  }
  if (length == 0 || (header.flags & kNoBodyHash) != 0 || hash64(body, rest) == header.body_hash) {
    return {};
  }
  std::string where(message_type_name(header.type));
  if (header.type == MessageType::kPages) {
    where += " " + describe_pages(body, rest);
  }
  return fail(
      ErrorCode::kChecksum,
      "frame body",
      fmt::format(
          "{} (frame {}) damaged in flight: its hash does not match", where, header.sequence));
}

FrameHeader FrameWriter::header_for(MessageType type,
                                    std::uint32_t body_length,
                                    std::uint64_t body_hash,
                                    std::uint32_t flags) {
  const auto limits = body_limits(type);
  GODWIT_CHECK(body_length >= limits.min && body_length <= limits.max);
  GODWIT_CHECK(flags == 0 || (flags == kNoBodyHash && type == MessageType::kPages));
  GODWIT_CHECK(body_hash == 0 || (body_length != 0 && flags == 0));
  FrameHeader header;
  header.version = version_;
  header.type = type;
  header.epoch = epoch_;
  header.flags = flags;
  header.sequence = sequence_++;
  header.body_length = body_length;
  header.body_hash = body_hash;
  seal_header(header);
  return header;
}

std::vector<std::byte> FrameWriter::frame(MessageType type,
                                          std::span<const std::byte> body,
                                          std::uint32_t flags) {
  GODWIT_CHECK(body.size() <= kMaxStateBody);
  const bool hashed = !body.empty() && (flags & kNoBodyHash) == 0;
  const auto header =
      header_for(type, static_cast<std::uint32_t>(body.size()), hashed ? hash64(body) : 0, flags);
  std::vector<std::byte> out;
  out.reserve(kHeaderBytes + body.size());
  const auto head = header_bytes(header);
  out.insert(out.end(), head.begin(), head.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace godwit::wire
