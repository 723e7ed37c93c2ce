// A push parser over one flat buffer.
//
// A ring buffer would need no moves, but a body could wrap and the page data would not be one
// aligned span that can be written to a file or hashed at once. So the buffer is flat and a frame
// that is not complete starts at its front: bytes are moved only when a frame's beginning came
// along with its predecessor, which is at most the read-ahead. Once the header of an incomplete
// frame is known, exactly its missing bytes are asked for, so a body that is large against the
// read-ahead lands where it stays. The header takes 64 bytes and the prefix of a PAGES body a
// multiple of 64, so a frame at a 64-byte boundary has aligned page data.
#include "godwit/wire/frame_reader.h"

#include <algorithm>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "godwit/base/check.h"
#include "godwit/wire/frame.h"

namespace godwit::wire {
namespace {
constexpr std::size_t kDataAlignment = 64;
constexpr auto kBufferAlignment = std::align_val_t{4096};
}  // namespace

void FrameReader::Free::operator()(std::byte* bytes) const {
  ::operator delete(bytes, kBufferAlignment);
}

FrameReader::FrameReader(std::size_t max_body, std::size_t read_ahead)
    : max_body_(std::min<std::size_t>(max_body, kMaxStateBody)),
      read_ahead_(std::max(read_ahead, kHeaderBytes)),
      capacity_(std::max(read_ahead_, kHeaderBytes + max_body_)),
      buffer_(static_cast<std::byte*>(::operator new(capacity_, kBufferAlignment))) {}

void FrameReader::compact() {
  if (begin_ != 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, buffered());
    end_ -= begin_;
    begin_ = 0;
  }
}

std::span<std::byte> FrameReader::offer(std::size_t wanted) {
  compact();
  offered_ = wanted;
  return {buffer_.get() + end_, wanted};
}

std::span<std::byte> FrameReader::space() {
  if (!error_ && !header_) {
    // Without a checked header less than one is buffered, so this is never empty.
    GODWIT_CHECK(buffered() < kHeaderBytes);
    return offer(read_ahead_ - buffered());
  }
  return exact_space();
}

std::span<std::byte> FrameReader::exact_space() {
  if (error_) {
    // What still arrives on a broken channel is thrown away.
    begin_ = end_ = 0;
    return offer(read_ahead_);
  }
  const std::size_t whole = kHeaderBytes + (header_ ? header_->body_length : 0);
  GODWIT_CHECK(buffered() < whole);
  return offer(whole - buffered());
}

void FrameReader::commit(std::size_t n) {
  GODWIT_CHECK(n <= offered_);
  offered_ = 0;
  end_ += error_ ? 0 : n;
}

Status FrameReader::check_header(const FrameHeader& header) const {
  const auto name = message_type_name(header.type);
  if (version_ != 0 && header.version != version_) {
    return fail(
        ErrorCode::kVersion,
        "frame header",
        fmt::format("{} in protocol version {}, agreed was {}", name, header.version, version_));
  }
  if (header.sequence != sequence_) {
    return fail(
        ErrorCode::kProtocol,
        "frame header",
        fmt::format(
            "{} has sequence number {}, expected was {}", name, header.sequence, sequence_));
  }
  if (header.body_length > max_body_) {
    return fail(
        ErrorCode::kProtocol,
        "frame header",
        fmt::format(
            "{}: body of {} bytes is over this channel's {}", name, header.body_length, max_body_));
  }
  if ((features_ & kFeatureBodyHash) != 0 && (header.flags & kNoBodyHash) != 0) {
    return fail(
        ErrorCode::kProtocol, "frame header", fmt::format("{} without the agreed body hash", name));
  }
  return {};
}

Result<std::optional<FrameView>> FrameReader::step() {
  if (!header_) {
    if (buffered() < kHeaderBytes) {
      return std::optional<FrameView>();
    }
    const std::span<const std::byte> bytes(buffer_.get() + begin_, kHeaderBytes);
    GODWIT_TRY_ASSIGN(auto header, parse_header(bytes.first<kHeaderBytes>()));
    GODWIT_TRY(check_header(header));
    header_ = header;
  }
  const std::size_t whole = kHeaderBytes + header_->body_length;
  if (buffered() < whole) {
    return std::optional<FrameView>();
  }
  if (header_->type == MessageType::kPages && begin_ % kDataAlignment != 0) {
    compact();
  }
  const std::span<const std::byte> body(buffer_.get() + begin_ + kHeaderBytes,
                                        header_->body_length);
  GODWIT_TRY(verify_body(*header_, body));
  const FrameView view{*header_, body};
  header_.reset();
  begin_ += whole;
  ++sequence_;
  return std::optional<FrameView>(view);
}

Result<std::optional<FrameView>> FrameReader::next() {
  if (error_) {
    return fail(*error_);
  }
  auto frame = step();
  if (!frame) {
    error_ = frame.error();
  }
  return frame;
}

}  // namespace godwit::wire
