#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"
#include "godwit/json/json.h"

#include "ground/unix_socket.h"

namespace godwit::lab {

/// One thing that QEMU says. Source: QEMU, docs/interop/qmp-spec.
struct QmpMessage {
  enum class Kind : std::uint8_t { kGreeting = 1, kReturn, kError, kEvent };
  Kind kind = Kind::kReturn;
  Json body;                  ///< greeting's "QMP", the returned value, an event's "data"
  std::string name;           ///< of an event; class of an error
  std::string text;           ///< of an error
  std::int64_t stamp_ns = 0;  ///< CLOCK_MONOTONIC when it was read
};

/// Cuts a stream of bytes into messages.
class QmpParser {
 public:
  /// Longer than any answer to what the lab asks.
  static constexpr std::size_t kLineBytesMax = 4U << 20;

  void feed(std::string_view bytes) { buffer_ += bytes; }
  /// The next whole message; nothing when more bytes are needed.
  /// Errors: kProtocol (a line that is none of QMP's messages, or never ends).
  Result<std::optional<QmpMessage>> next();

 private:
  std::string buffer_;
};

/// Speaks with one QEMU. Thread: one.
class Qmp {
 public:
  /// Takes the greeting and leaves the negotiation. Errors: kProtocol, kClosed, kTimeout,
  /// kCancelled.
  static Result<Qmp> start(Fd socket, const Watched& watched, Deadline deadline);

  /// Runs a command and returns what it returns. Events that come meanwhile are kept.
  /// Errors: kRefused with QEMU's own words; kProtocol, kClosed, kTimeout, kCancelled.
  Result<Json> execute(const std::string& command,
                       const Json& arguments = Json::object(),
                       Deadline deadline = Deadline::after_ns(kAnswerNs));
  /// The next event, of any name. Errors: kTimeout, kProtocol, kClosed, kCancelled.
  Result<QmpMessage> event(Deadline deadline);
  [[nodiscard]] const Json& greeting() const { return greeting_; }

 private:
  static constexpr std::int64_t kAnswerNs = 20'000'000'000;
  Qmp(Fd socket, const Watched& watched) : socket_(std::move(socket)), watched_(watched) {}
  Result<QmpMessage> read(Deadline deadline);

  Fd socket_;
  Watched watched_;
  QmpParser parser_;
  std::deque<QmpMessage> events_;
  Json greeting_;
};

}  // namespace godwit::lab
