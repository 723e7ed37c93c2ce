#include "godwit/wire/frame.h"

#include <cstring>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "godwit/wire/checksum.h"
#include "godwit/wire/codec.h"

namespace godwit::wire {
namespace {

using testing::HasSubstr;

/// Parses a valid BARRIER header after `change`, resealed: the checks behind the hash must see it.
Result<FrameHeader> parse_changed(const std::function<void(FrameHeader&)>& change) {
  FrameWriter writer;
  const auto body = encode(Barrier{1});
  auto header = writer.header_for(
      MessageType::kBarrier, static_cast<std::uint32_t>(body.size()), hash64(body));
  change(header);
  seal_header(header);
  return parse_header(header_bytes(header));
}

void expect_refused(const std::function<void(FrameHeader&)>& change, const char* reason) {
  const auto header = parse_changed(change);
  ASSERT_FALSE(header.has_value()) << reason;
  EXPECT_EQ(header.error().code, ErrorCode::kProtocol);
  EXPECT_THAT(header.error().message(), HasSubstr(reason));
}

TEST(FrameHeader, ParsesWhatTheWriterMade) {
  const auto header = parse_changed([](FrameHeader&) {});
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->type, MessageType::kBarrier);
  EXPECT_EQ(header->body_length, 8U);
}

TEST(FrameHeader, NamesTheReasonOfARefusal) {
  expect_refused([](FrameHeader& h) { h.begin = 0x20544547; }, "not a godwit frame");
  expect_refused([](FrameHeader& h) { h.version = 0; }, "version 0");
  expect_refused([](FrameHeader& h) { h.type = MessageType{}; }, "unknown message type 0");
  expect_refused([](FrameHeader& h) { h.type = static_cast<MessageType>(kMessageTypeEnd); },
                 "unknown message type");
  expect_refused([](FrameHeader& h) { h.flags = kNoBodyHash; }, "illegal flags 0x1");
  expect_refused([](FrameHeader& h) { h.flags = 1U << 31; }, "illegal flags 0x80000000");
  expect_refused([](FrameHeader& h) { h.reserved0 = 1; }, "reserved");
  expect_refused([](FrameHeader& h) { h.reserved1[0] = 1; }, "reserved");
  expect_refused([](FrameHeader& h) { h.reserved1[1] = 1; }, "reserved");
  expect_refused([](FrameHeader& h) { h.body_length = 9; }, "outside 8-8");
  expect_refused([](FrameHeader& h) { h.body_length = 0xffffffff; }, "outside");
  const auto no_hash = [](FrameHeader& h) {
    h.type = MessageType::kPages;
    h.body_length = 64;
    h.flags = kNoBodyHash;
  };
  expect_refused(no_hash, "nothing to hash");
}

TEST(FrameHeader, LengthIsCappedPerType) {
  for (std::uint16_t number = 1; number < kMessageTypeEnd; ++number) {
    const auto over = [&](FrameHeader& h) {
      h.type = static_cast<MessageType>(number);
      h.body_length = body_limits(h.type).max + 1;
    };
    expect_refused(over, "outside");
  }
}

TEST(FrameHeader, DamageIsAChecksumError) {
  FrameHeader header;
  header.type = MessageType::kReady;
  seal_header(header);
  header.epoch ^= 4;
  const auto parsed = parse_header(header_bytes(header));
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().code, ErrorCode::kChecksum);
}

TEST(FrameHeader, AnyVersionPasses) {
  const auto header = parse_changed([](FrameHeader& h) { h.version = 900; });
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->version, 900);
}

TEST(FrameWriter, NumbersFramesOfBothKinds) {
  FrameWriter writer;
  writer.set_epoch(9);
  writer.set_version(2);
  (void)writer.frame(MessageType::kReady, {});
  const auto header = writer.header_for(MessageType::kPages, 64, 1);
  EXPECT_EQ(header.sequence, 1U);
  EXPECT_EQ(header.epoch, 9U);
  EXPECT_EQ(header.version, 2);
  EXPECT_EQ(writer.header_for(MessageType::kPages, 64, 1).sequence, 2U);
}

TEST(FrameWriter, EmptyAndUnhashedBodiesCarryNoHash) {
  FrameWriter writer;
  const auto ready = writer.frame(MessageType::kReady, {});
  EXPECT_EQ(ready.size(), kHeaderBytes);
  EXPECT_TRUE(parse_header(std::span(ready).first<kHeaderBytes>()).has_value());
  const std::vector<std::byte> body(64);
  const auto pages = writer.frame(MessageType::kPages, body, kNoBodyHash);
  const auto header = parse_header(std::span(pages).first<kHeaderBytes>());
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->body_hash, 0U);
}

TEST(FrameWriterDeathTest, RefusesABodyOutsideItsTypesBounds) {
  FrameWriter writer;
  const std::vector<std::byte> body(9);
  EXPECT_DEATH((void)writer.frame(MessageType::kBarrier, body), "body_length");
}

TEST(VerifyBody, ChecksLengthAndHash) {
  FrameWriter writer;
  auto body = encode(Barrier{5});
  const auto header = writer.header_for(MessageType::kBarrier, 8, hash64(body));
  EXPECT_TRUE(verify_body(header, body).has_value());
  EXPECT_EQ(verify_body(header, std::span(body).first(7)).error().code, ErrorCode::kProtocol);
  body[3] ^= std::byte{1};
  EXPECT_EQ(verify_body(header, body).error().code, ErrorCode::kChecksum);
}

}  // namespace
}  // namespace godwit::wire
