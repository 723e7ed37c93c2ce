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
  if (!placed_.empty()) {
    GODWIT_CHECK(placed_bytes_ < placed_.size());
    offered_place_ = true;
    offered_ = placed_.size() - placed_bytes_;
    return placed_.subspan(placed_bytes_);
  }
  const std::size_t whole = kHeaderBytes + (header_ ? header_->body_length : 0);
  const std::size_t wanted = waits_for_prefix() ? kHeaderBytes + kMinPagePrefix : whole;
  GODWIT_CHECK(buffered() < wanted);
  return offer(wanted - buffered());
}

bool FrameReader::waits_for_prefix() const {
  return header_ && header_->type == MessageType::kPages && place_ && !place_asked_ &&
         buffered() < kHeaderBytes + kMinPagePrefix;
}

void FrameReader::find_place() {
  if (header_->type != MessageType::kPages || !place_ || place_asked_ ||
      header_->body_length <= kMinPagePrefix || buffered() < kHeaderBytes + kMinPagePrefix) {
    return;
  }
  place_asked_ = true;
  const std::size_t data = header_->body_length - kMinPagePrefix;
  if (buffered() != kHeaderBytes + kMinPagePrefix) {
    return;  // some of the data is in the buffer already
  }
  const auto place = place_({buffer_.get() + begin_ + kHeaderBytes, kMinPagePrefix});
  if (place.size() == data) {
    placed_ = place;
    placed_bytes_ = 0;
  }
}

void FrameReader::commit(std::size_t n) {
  GODWIT_CHECK(n <= offered_);
  offered_ = 0;
  if (std::exchange(offered_place_, false)) {
    placed_bytes_ += n;
    return;
  }
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
  find_place();
  const std::size_t whole = kHeaderBytes + header_->body_length - placed_.size();
  if (buffered() < whole || placed_bytes_ < placed_.size()) {
    return std::optional<FrameView>();
  }
  if (header_->type == MessageType::kPages && begin_ % kDataAlignment != 0) {
    compact();
  }
  const std::span<const std::byte> body(buffer_.get() + begin_ + kHeaderBytes,
                                        whole - kHeaderBytes);
  GODWIT_TRY(verify_body(*header_, body, placed_));
  const FrameView view{*header_, body, placed_};
  header_.reset();
  place_asked_ = false;
  placed_ = {};
  placed_bytes_ = 0;
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
