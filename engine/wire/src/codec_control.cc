// The messages that agree on a migration, hand it over and end it.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "godwit/wire/codec.h"

#include "bytes.h"

namespace godwit::wire {
namespace {

// Our own texts may quote a path or a guest's name: what the peer would refuse is replaced here,
// and a cut never leaves half a UTF-8 character.
std::string sendable(std::string_view text) {
  std::size_t size = std::min(text.size(), kMaxTextBytes);
  while (size < text.size() && size > 0 &&
         (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) {
    --size;
  }
  std::string out(text.substr(0, size));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return !printable(c); }, '?');
  return out;
}

void put_text(ByteWriter& out, const std::string& text) {
  out.put_string(sendable(text), kMaxTextBytes);
}

ErrorCode get_code(ByteReader& in) {
  const auto code = in.get<std::uint16_t>("code");
  if (in.ok() && code == 0) {
    in.refuse("code", "0 is invalid");
  }
  // A newer peer may know more kinds of wrong; its text still says what happened.
  return code > static_cast<std::uint16_t>(ErrorCode::kInternal) ? ErrorCode::kRefused
                                                                 : static_cast<ErrorCode>(code);
}

SessionId get_session_id(ByteReader& in) {
  SessionId id{};
  const auto bytes = in.get_bytes(id.size(), "session_id");
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return id;
}

template <typename T>
Result<T> decode_empty(std::string_view name, std::span<const std::byte> body) {
  ByteReader in(name, body);
  GODWIT_TRY(in.finish());
  return T{};
}

}  // namespace

std::vector<std::byte> encode(const Hello& message) {
  GODWIT_CHECK(!message.versions_offered.empty());
  GODWIT_CHECK((message.features_required & ~message.features_offered) == 0);
  ByteWriter out;
  out.put_count(message.versions_offered.size(), kMaxVersions);
  for (const auto version : message.versions_offered) {
    GODWIT_CHECK(version != 0);
    out.put(version);
  }
  out.put(message.features_offered).put(message.features_required).put_bytes(message.session_id);
  out.put(message.role).put(message.channel_kind).put(message.channel_index);
  return out.put(message.session_epoch).take();
}

Result<Hello> decode_hello(std::span<const std::byte> body) {
  ByteReader in("HELLO", body);
  Hello message;
  const auto count = in.get_count("versions_offered", 1, kMaxVersions, sizeof(std::uint16_t));
  auto& versions = message.versions_offered;
  for (std::size_t i = 0; i < count; ++i) {
    const auto version = in.get<std::uint16_t>("versions_offered");
    if (version == 0 || std::find(versions.begin(), versions.end(), version) != versions.end()) {
      in.refuse("versions_offered", fmt::format("version {} is invalid or listed twice", version));
    }
    versions.push_back(version);
  }
  message.features_offered = in.get<std::uint64_t>("features_offered");
  message.features_required = in.get<std::uint64_t>("features_required");
  if ((message.features_required & ~message.features_offered) != 0) {
    in.refuse("features_required", "a feature is required but not offered");
  }
  message.session_id = get_session_id(in);
  message.role = in.get_enum("role", Role::kTarget);
  message.channel_kind = in.get_enum("channel_kind", ChannelKind::kUrgent);
  message.channel_index = in.get<std::uint16_t>("channel_index");
  message.session_epoch = in.get<std::uint32_t>("session_epoch");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Welcome& message) {
  GODWIT_CHECK(message.version != 0);
  ByteWriter out;
  out.put(message.version).put(message.features).put_bytes(message.session_id);
  return out.put(message.session_epoch).take();
}

Result<Welcome> decode_welcome(std::span<const std::byte> body) {
  ByteReader in("WELCOME", body);
  Welcome message;
  message.version = in.get<std::uint16_t>("version");
  if (message.version == 0) {
    in.refuse("version", "0 is invalid");
  }
  message.features = in.get<std::uint64_t>("features");
  message.session_id = get_session_id(in);
  message.session_epoch = in.get<std::uint32_t>("session_epoch");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Refuse& message) {
  ByteWriter out;
  put_text(out.put(message.code).put(message.phase), message.text);
  return out.take();
}

Result<Refuse> decode_refuse(std::span<const std::byte> body) {
  ByteReader in("REFUSE", body);
  Refuse message;
  message.code = get_code(in);
  message.phase = in.get<std::uint16_t>("phase");
  message.text = in.get_string("text", 0, kMaxTextBytes);
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Accept& message) {
  GODWIT_CHECK(std::all_of(message.placement.begin(), message.placement.end(), printable));
  ByteWriter out;
  out.put(message.prealloc_ns).put(std::uint8_t{message.placing_maps});
  out.put(std::uint8_t{0}).put(std::uint16_t{0});
  return out.put_string(message.placement, kMaxNameBytes).take();
}

Result<Accept> decode_accept(std::span<const std::byte> body) {
  ByteReader in("ACCEPT", body);
  Accept message;
  message.prealloc_ns = in.get<std::uint64_t>("prealloc_ns");
  message.placing_maps = in.get_bool("placing_maps");
  in.get_reserved<std::uint8_t>("reserved");
  in.get_reserved<std::uint16_t>("reserved");
  message.placement = in.get_string("placement", 0, kMaxNameBytes);
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Ready&) {
  return {};
}
std::vector<std::byte> encode(const Commit&) {
  return {};
}
std::vector<std::byte> encode(const BackgroundEnd&) {
  return {};
}
std::vector<std::byte> encode(const Finish&) {
  return {};
}
std::vector<std::byte> encode(const CancelAck&) {
  return {};
}

Result<Ready> decode_ready(std::span<const std::byte> body) {
  return decode_empty<Ready>("READY", body);
}
Result<Commit> decode_commit(std::span<const std::byte> body) {
  return decode_empty<Commit>("COMMIT", body);
}
Result<BackgroundEnd> decode_background_end(std::span<const std::byte> body) {
  return decode_empty<BackgroundEnd>("BACKGROUND_END", body);
}
Result<Finish> decode_finish(std::span<const std::byte> body) {
  return decode_empty<Finish>("FINISH", body);
}
Result<CancelAck> decode_cancel_ack(std::span<const std::byte> body) {
  return decode_empty<CancelAck>("CANCEL_ACK", body);
}

std::vector<std::byte> encode(const Running& message) {
  ByteWriter out;
  return out.put(message.load_ns).put(message.resume_ns).take();
}

Result<Running> decode_running(std::span<const std::byte> body) {
  ByteReader in("RUNNING", body);
  Running message;
  message.load_ns = in.get<std::uint64_t>("load_ns");
  message.resume_ns = in.get<std::uint64_t>("resume_ns");
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const NotStarted& message) {
  ByteWriter out;
  put_text(out.put(message.code), message.text);
  return out.take();
}

Result<NotStarted> decode_not_started(std::span<const std::byte> body) {
  ByteReader in("NOT_STARTED", body);
  NotStarted message;
  message.code = get_code(in);
  message.text = in.get_string("text", 0, kMaxTextBytes);
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Cancel& message) {
  ByteWriter out;
  put_text(out, message.text);
  return out.take();
}

Result<Cancel> decode_cancel(std::span<const std::byte> body) {
  ByteReader in("CANCEL", body);
  Cancel message;
  message.text = in.get_string("text", 0, kMaxTextBytes);
  GODWIT_TRY(in.finish());
  return message;
}

std::vector<std::byte> encode(const Abort& message) {
  ByteWriter out;
  put_text(out.put(message.code).put(message.phase), message.text);
  return out.take();
}

Result<Abort> decode_abort(std::span<const std::byte> body) {
  ByteReader in("ABORT", body);
  Abort message;
  message.code = get_code(in);
  message.phase = in.get<std::uint16_t>("phase");
  message.text = in.get_string("text", 0, kMaxTextBytes);
  GODWIT_TRY(in.finish());
  return message;
}

}  // namespace godwit::wire
