#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "godwit/base/result.h"
#include "godwit/wire/format.h"

namespace godwit::wire {

/// One verified frame. Ownership: `body` lies in the reader's buffer until its next call of space()
/// or next().
struct FrameView {
  FrameHeader header;
  std::span<const std::byte> body;
  /// What of the body was received where it stays, see FrameReader::set_places(): it follows `body`
  /// on the wire. Usually empty.
  std::span<const std::byte> placed;
};

/// Says where the page data of a PAGES frame belongs; empty: nowhere in particular. Asked once a
/// frame with the first kMinPagePrefix bytes of its body, before the data is received and before
/// anything of it has been verified.
using PlaceOfPages = std::function<std::span<std::byte>(std::span<const std::byte> prefix)>;

/// Turns the bytes of one direction of one channel into verified frames. The caller receives into
/// space(), says commit(), and takes frames with next() until there is none:
///
///     reader.commit(n);
///     for (;;) {
///       GODWIT_TRY_ASSIGN(auto frame, reader.next());
///       if (!frame) break;
///       ...
///     }
///     start_receive(reader.space());
///
/// With a small read-ahead a large body is received straight to where it stays; with a larger one
/// several small frames arrive in one receive. At most the read-ahead is ever moved in memory.
/// Guarantees: page data of a PAGES frame is 64-byte aligned; after an error nothing more is
/// delivered and next() repeats that error. Cost: one allocation, in the constructor. Thread: one
/// at a time.
class FrameReader {
 public:
  /// `max_body`: larger bodies are refused at their header, besides the limit of their type.
  /// `read_ahead`: bytes received at once while no header is there; at least a header's 64.
  FrameReader(std::size_t max_body, std::size_t read_ahead);

  /// Frames of any other version are refused from here on. Before the call any version passes, so
  /// that a HELLO or REFUSE of a newer peer can be read.
  void set_version(std::uint16_t version) { version_ = version; }
  /// The features agreed on. With kFeatureBodyHash a PAGES frame without body hash is refused.
  void set_features(std::uint64_t features) { features_ = features; }
  /// For a channel whose first frames were received by other means. Requires: no frame was
  /// delivered yet.
  void expect_sequence(std::uint64_t sequence) { sequence_ = sequence; }
  /// From here on the data of a PAGES frame whose prefix is as short as can be is received straight
  /// to the place that `place` names, and is whatever the peer sent until next() has delivered the
  /// frame. Requires: a read-ahead of no more than header and shortest prefix, or data is received
  /// before it can be asked for (and the frame is delivered as any other).
  void set_places(PlaceOfPages place) { place_ = std::move(place); }

  /// Where the next bytes go; valid until commit(). Never empty.
  /// Requires: the last next() delivered no frame (or there was none yet).
  [[nodiscard]] std::span<std::byte> space();
  /// As space(), but only as many bytes as must arrive before next() can go on: for a caller that
  /// waits until all of them have come, and must not wait for more.
  [[nodiscard]] std::span<std::byte> exact_space();
  /// `n` bytes of the last space() were filled. Requires: n is at most its size.
  void commit(std::size_t n);

  /// The next frame if all of it is there, else none. Requires: nothing, but see FrameView for how
  /// long it is valid. Errors: kChecksum for damage (naming pages), kVersion, kProtocol for a
  /// sequence hole or anything else.
  [[nodiscard]] Result<std::optional<FrameView>> next();

  /// Bytes that were received and not delivered: not 0 when a channel closes inside a frame.
  [[nodiscard]] std::size_t buffered() const { return end_ - begin_; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };

  [[nodiscard]] Status check_header(const FrameHeader& header) const;
  Result<std::optional<FrameView>> step();
  void compact();
  std::span<std::byte> offer(std::size_t wanted);
  /// Asks where the frame's data belongs, once.
  void find_place();
  [[nodiscard]] bool waits_for_prefix() const;

  std::size_t max_body_;
  std::size_t read_ahead_;
  std::size_t capacity_;
  std::unique_ptr<std::byte, Free> buffer_;
  std::size_t begin_ = 0;              ///< of the first undelivered byte
  std::size_t end_ = 0;                ///< of the last received byte
  std::size_t offered_ = 0;            ///< bytes of the last space()
  std::optional<FrameHeader> header_;  ///< of the frame at begin_, once checked
  PlaceOfPages place_;
  bool place_asked_ = false;
  bool offered_place_ = false;    ///< the last space() was in placed_
  std::span<std::byte> placed_;   ///< of the frame at begin_; empty = its body is buffered
  std::size_t placed_bytes_ = 0;  ///< received there
  std::optional<Error> error_;
  std::uint64_t sequence_ = 0;
  std::uint64_t features_ = 0;
  std::uint16_t version_ = 0;  ///< 0 = any
};

}  // namespace godwit::wire
