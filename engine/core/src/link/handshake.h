#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "godwit/engine/ports/transport.h"
#include "godwit/wire/codec.h"

#include "link/frame_channel.h"

// The first words on every channel, at both sides: HELLO, and WELCOME or REFUSE. Which version and
// which features two sides have in common is the rule of wire/negotiate.h. Here is the conversation:
// what is offered, how an answer is checked, and who may have which channel.

namespace godwit::engine {

/// The source's half of the handshake. Thread: migration.
class SourceHandshake {
 public:
  /// `checksum`: page frames carry the hash of their body, and the target must agree to that.
  /// `recovers`: a link that is lost after READY is to be taken up again, if the target agrees.
  explicit SourceHandshake(bool checksum, bool recovers = false)
      : checksum_(checksum), recovers_(recovers) {}

  /// The first frame of a channel of this kind, with index 0. Names the session once it is known.
  [[nodiscard]] wire::Hello hello(ChannelKind kind) const;
  /// Takes WELCOME on the control channel, which issues the session.
  Status take_session(std::span<const std::byte> body, FrameChannel& control);
  /// Takes WELCOME on a control channel that was connected again, by which the target begins another
  /// epoch of the session. Errors: as take_session(); kProtocol when it is another session.
  Status take_resumed(std::span<const std::byte> body, FrameChannel& control);
  /// Both sides take up a lost link again. Requires: take_session().
  [[nodiscard]] bool recovers() const { return granted_; }
  /// The number of the handover attempt, as issued with the session.
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }

 private:
  bool checksum_;
  bool recovers_;
  bool granted_ = false;
  wire::SessionId session_id_{};
  std::uint32_t epoch_ = 0;
};

/// Takes WELCOME on a page channel, the answer to `sent`. `open` says whether one came before, and
/// is true afterwards.
Status take_welcome(std::span<const std::byte> body,
                    const wire::Hello& sent,
                    FrameChannel& channel,
                    bool& open);

/// The target's half of the handshake: whether a connection gets the channel that it asks for.
/// Thread: control.
class TargetHandshake {
 public:
  /// What a side waits for, which decides who gets in.
  struct Door {
    bool waits_for_pages = false;  ///< the description was accepted, and not all channels are open
    bool may_resume = false;       ///< the source of the session may connect again
  };
  /// `recovers`: a source is granted that it may come back.
  explicit TargetHandshake(bool recovers = false) : recovers_(recovers) {}

  /// Judges the HELLO of a connection; who is admitted has the channel. The first control channel
  /// is issued a session. A control channel that names it begins its next epoch, to which all page
  /// channels belong that come after. A page channel must name session and epoch and be one that the
  /// description promised. Returns the session, which WELCOME tells. Errors: why not, for REFUSE.
  Result<wire::Welcome> admit(const wire::Hello& hello, Door door);
  /// The description promises so many bulk channels; and one urgent channel always comes.
  void expect(std::uint32_t bulk_channels) { bulk_taken_.assign(bulk_channels, false); }
  [[nodiscard]] const wire::Welcome& session() const { return session_; }
  /// Both sides take up a lost link again. Requires: a control channel was admitted.
  [[nodiscard]] bool recovers() const { return (session_.features & wire::kFeatureRecovery) != 0; }

 private:
  Status issue_session(const wire::Welcome& negotiated);
  Result<wire::Welcome> resume(const wire::Hello& hello, Door door);
  Status take_page_channel(const wire::Hello& hello);

  const bool recovers_;
  wire::Welcome session_;
  bool control_taken_ = false;
  bool urgent_taken_ = false;
  std::vector<bool> bulk_taken_;
};

/// Waits for the first frame of a connection that nobody knows yet.
Result<wire::Hello> hear_hello(Channel& channel, Deadline deadline);
/// Tells a peer that speaks our framing why, and closes; one that does not sees the connection
/// close.
void refuse_stranger(Channel& channel, const Error& error);

}  // namespace godwit::engine
