#include "link/handshake.h"

#include <sys/random.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "godwit/engine/states.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"
#include "godwit/wire/negotiate.h"

#include "policy/timeouts.h"

namespace godwit::engine {
namespace {

constexpr std::uint16_t kVersions[] = {wire::kProtocolVersion};
constexpr std::size_t kHelloBody = 4096;

tl::unexpected<Error> refused(std::string why) {
  return fail(ErrorCode::kRefused, "hello", std::move(why));
}

}  // namespace

wire::Hello SourceHandshake::hello(ChannelKind kind) const {
  wire::Hello hello;
  hello.versions_offered.assign(std::begin(kVersions), std::end(kVersions));
  hello.features_offered = wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
  if (checksum_) {
    hello.features_offered |= wire::kFeatureBodyHash;
    hello.features_required = wire::kFeatureBodyHash;
  }
  if (recovers_) {
    hello.features_offered |= wire::kFeatureRecovery;
  }
  hello.session_id = session_id_;
  hello.role = wire::Role::kSource;
  hello.channel_kind = kind;
  hello.session_epoch = epoch_;
  return hello;
}

Status SourceHandshake::take_session(std::span<const std::byte> body, FrameChannel& control) {
  GODWIT_TRY_ASSIGN(const auto welcome, wire::decode_welcome(body));
  GODWIT_TRY(wire::check_welcome(hello(ChannelKind::kControl), welcome));
  session_id_ = welcome.session_id;
  epoch_ = welcome.session_epoch;
  granted_ = (welcome.features & wire::kFeatureRecovery) != 0;
  control.agree(welcome);
  return {};
}

Status SourceHandshake::take_resumed(std::span<const std::byte> body, FrameChannel& control) {
  GODWIT_TRY_ASSIGN(const auto welcome, wire::decode_welcome(body));
  auto expected = hello(ChannelKind::kControl);
  if (welcome.session_epoch <= epoch_) {
    return fail(ErrorCode::kProtocol, "hello", "the target answered with an epoch that is over");
  }
  expected.session_epoch = welcome.session_epoch;
  GODWIT_TRY(wire::check_welcome(expected, welcome));
  epoch_ = welcome.session_epoch;
  control.agree(welcome);
  return {};
}

Status take_welcome(std::span<const std::byte> body,
                    const wire::Hello& sent,
                    FrameChannel& channel,
                    bool& open) {
  GODWIT_TRY_ASSIGN(const auto welcome, wire::decode_welcome(body));
  if (std::exchange(open, true)) {
    return fail(ErrorCode::kProtocol,
                sent.channel_kind == ChannelKind::kBulk ? "bulk channel" : "urgent channel",
                "a second WELCOME");
  }
  GODWIT_TRY(wire::check_welcome(sent, welcome));
  channel.agree(welcome);
  return {};
}

Result<wire::Welcome> TargetHandshake::admit(const wire::Hello& hello, Door door) {
  const auto features =
      recovers_ ? wire::kKnownFeatures : wire::kKnownFeatures & ~wire::kFeatureRecovery;
  GODWIT_TRY_ASSIGN(const auto negotiated, wire::negotiate(hello, kVersions, features, 0));
  if (hello.channel_kind == ChannelKind::kControl) {
    if (hello.session_id != wire::SessionId{}) {
      return resume(hello, door);
    }
    if (control_taken_ || hello.role != wire::Role::kSource) {
      return refused("this target has a migration already");
    }
    GODWIT_TRY(issue_session(negotiated));
    return session_;
  }
  if (!control_taken_ || !door.waits_for_pages || hello.session_id != session_.session_id ||
      hello.session_epoch != session_.session_epoch || hello.role != wire::Role::kSource) {
    return refused("the channel belongs to no session that waits for one");
  }
  GODWIT_TRY(take_page_channel(hello));
  return session_;
}

Status TargetHandshake::issue_session(const wire::Welcome& negotiated) {
  auto session = negotiated;
  session.session_epoch = 1;
  if (::getrandom(session.session_id.data(), session.session_id.size(), 0) !=
      static_cast<ssize_t>(session.session_id.size())) {
    return fail_errno(errno, "getrandom");
  }
  session_ = session;
  control_taken_ = true;
  return {};
}

Result<wire::Welcome> TargetHandshake::resume(const wire::Hello& hello, Door door) {
  if (!control_taken_ || hello.session_id != session_.session_id ||
      hello.role != wire::Role::kSource) {
    return refused("the session is none of this target");
  }
  // Of an epoch before the last one: a connection that was begun and overtaken by another.
  if (!door.may_resume || !recovers() || hello.session_epoch > session_.session_epoch) {
    return refused("the session cannot be taken up again now");
  }
  ++session_.session_epoch;
  urgent_taken_ = false;
  bulk_taken_.assign(bulk_taken_.size(), false);
  return session_;
}

Status TargetHandshake::take_page_channel(const wire::Hello& hello) {
  const bool bulk = hello.channel_kind == ChannelKind::kBulk;
  const std::size_t index = hello.channel_index;
  if (index >= (bulk ? bulk_taken_.size() : 1)) {
    return refused(fmt::format("channel {} is more than were described", index));
  }
  if (bulk ? bulk_taken_[index] : urgent_taken_) {
    return refused("this channel is open already");
  }
  if (bulk) {
    bulk_taken_[index] = true;
  } else {
    urgent_taken_ = true;
  }
  return {};
}

Result<wire::Hello> hear_hello(Channel& channel, Deadline deadline) {
  wire::FrameReader reader(kHelloBody, wire::kHeaderBytes);
  while (true) {
    const auto space = reader.exact_space();
    GODWIT_TRY(channel.receive_exact(space, deadline));
    reader.commit(space.size());
    GODWIT_TRY_ASSIGN(auto frame, reader.next());
    if (frame) {
      if (frame->header.type != wire::MessageType::kHello) {
        return fail(ErrorCode::kProtocol, "hello", "the first message is no HELLO");
      }
      return wire::decode_hello(frame->body);
    }
  }
}

void refuse_stranger(Channel& channel, const Error& error) {
  wire::FrameWriter writer;
  const auto frame = writer.frame(
      wire::MessageType::kRefuse,
      wire::encode(wire::Refuse{
          error.code, static_cast<std::uint16_t>(TargetState::kListening), error.message()}));
  [[maybe_unused]] const auto sent = channel.send_exact(frame, Deadline::after_ns(kRefusalNs));
  channel.shut_down();
}

}  // namespace godwit::engine
