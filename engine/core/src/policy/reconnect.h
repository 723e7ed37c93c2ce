#pragma once

#include <cstdint>
#include <optional>

namespace godwit::engine {

// When a lost link is dialled again.
//
// A page that somebody waits for comes at the earliest when the link is back and one of these
// attempts has met it. So they stay close together for as long as a bridge or a bond takes to fail
// over (30 to 50 s), and become rarer after that. One attempt costs a socket and one packet. An
// attempt that nobody answers is not waited for much longer than an answer takes: TCP itself repeats
// a lost SYN only after a second, then two, then four.

/// How long after its first loss a link is dialled. Thread: one.
class ReconnectWindow {
 public:
  /// `limit_ns`: from the loss on, without anything having been gained since.
  explicit ReconnectWindow(std::int64_t limit_ns) : limit_ns_(limit_ns) {}

  /// The link is lost, at `now`. A loss that follows another, and between them no page has come over,
  /// is the same loss: something breaks the link each time, and that ends too.
  void lost(std::int64_t now);
  /// The target misses so many pages, which it says after each reconnect.
  void missing(std::uint64_t pages);
  /// An attempt failed at `now`.
  void failed(std::int64_t now);
  /// An operator wants another try, of which nothing is known yet.
  void reopen(std::int64_t now);

  [[nodiscard]] bool over(std::int64_t now) const { return now - lost_ns_ >= limit_ns_; }
  [[nodiscard]] std::int64_t ends_ns() const { return lost_ns_ + limit_ns_; }
  /// When the next attempt is due.
  [[nodiscard]] std::int64_t next_ns() const { return next_ns_; }
  /// How long that attempt may take. `round_trip_ns`: of the link before it was lost.
  [[nodiscard]] std::int64_t attempt_ns(std::int64_t round_trip_ns) const;

 private:
  const std::int64_t limit_ns_;
  std::int64_t lost_ns_ = 0;
  std::int64_t next_ns_ = 0;
  std::uint64_t attempts_ = 0;  // since the loss
  std::optional<std::uint64_t> missing_;
  bool gained_ = true;
};

}  // namespace godwit::engine
