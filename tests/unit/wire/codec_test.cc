#include "godwit/wire/codec.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "godwit/wire/frame.h"

#include "support/golden_frames.h"

namespace godwit::wire {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

Bytes patched(Bytes body, std::size_t offset, std::uint8_t value) {
  body.at(offset) = static_cast<std::byte>(value);
  return body;
}

template <typename T>
void expect_refused(const Result<T>& result,
                    const char* reason,
                    ErrorCode code = ErrorCode::kProtocol) {
  ASSERT_FALSE(result.has_value()) << reason;
  EXPECT_EQ(result.error().code, code);
  EXPECT_THAT(result.error().message(), HasSubstr(reason));
}

Hello hello() {
  Hello message;
  message.versions_offered = {1, 3};
  message.features_offered = 7;
  message.features_required = 1;
  message.session_id[15] = std::byte{0xee};
  message.role = Role::kTarget;
  message.channel_kind = ChannelKind::kUrgent;
  message.channel_index = 0x1234;
  message.session_epoch = 0x89abcdef;
  return message;
}

State state() {
  State message;
  message.sections = {{"vcpu", 3, 2, true, Bytes(100, std::byte{1})}, {"x", 0, 1, false, {}}};
  return message;
}

Complete complete() {
  Complete message;
  message.scheduling_degraded = true;
  message.installed = 1;
  message.retracted = 2;
  message.retracted_at_switch = 3;
  message.cpu_ns = 4;
  message.first_run_ns = 5;
  message.run_ended_ns = ~0ULL;
  message.fault_max_ns = 7;
  message.boot_id = "b";
  message.fault_buckets = {{0, 1}, {5, ~0ULL}, {kMaxFaultBuckets - 1, 3}};
  return message;
}

TEST(Codec, StructsComeBackAsTheyWere) {
  EXPECT_EQ(*decode_hello(encode(hello())), hello());
  EXPECT_EQ(*decode_state(encode(state())), state());
  Describe describe;
  describe.postcopy_possible = false;
  describe.vcpus = 255;
  describe.bulk_channels = kMaxBulkChannels;
  describe.kind = "process";
  describe.regions.assign(kMaxRegions, {4096, kMaxPageIndex - 1});
  describe.config = state().sections;
  EXPECT_EQ(*decode_describe(encode(describe)), describe);
  const Running running{1, ~0ULL};
  EXPECT_EQ(*decode_running(encode(running)), running);
  const Stale none{};
  EXPECT_EQ(*decode_stale(encode(none)), none);
  const Stale stale{{{5, 0, kMaxPageIndex}, {0, 3, 1}}};
  EXPECT_EQ(*decode_stale(encode(stale)), stale);
  EXPECT_EQ(*decode_complete(encode(complete())), complete());
  EXPECT_EQ(*decode_complete(encode(Complete{})), Complete{});
}

TEST(Codec, LargestBodiesFitTheirTypesBounds) {
  auto full = hello();
  full.versions_offered.clear();
  for (std::uint16_t i = 1; i <= kMaxVersions; ++i) {
    full.versions_offered.push_back(i);
  }
  EXPECT_EQ(encode(full).size(), body_limits(MessageType::kHello).max);
  full.versions_offered = {1};
  EXPECT_EQ(encode(full).size(), body_limits(MessageType::kHello).min);
  const std::string text(kMaxTextBytes, 't');
  EXPECT_EQ(encode(Refuse{ErrorCode::kIo, 0, text}).size(), body_limits(MessageType::kRefuse).max);
  EXPECT_EQ(encode(Abort{ErrorCode::kIo, 0, text}).size(), body_limits(MessageType::kAbort).max);
  EXPECT_EQ(encode(NotStarted{ErrorCode::kIo, text}).size(),
            body_limits(MessageType::kNotStarted).max);
  EXPECT_EQ(encode(Cancel{text}).size(), body_limits(MessageType::kCancel).max);
  EXPECT_EQ(encode(Accept{0, false, std::string(kMaxNameBytes, 'p')}).size(),
            body_limits(MessageType::kAccept).max);
  const PageRequest request{std::vector<PageId>(kMaxRequestPages)};
  EXPECT_EQ(encode(request).size(), body_limits(MessageType::kPageRequest).max);
  const Stale stale{std::vector<PageRun>(kMaxStaleRuns, PageRun{0, 0, 1})};
  EXPECT_LE(encode(stale).size(), body_limits(MessageType::kStale).max);
  EXPECT_EQ(encode(Complete{}).size(), body_limits(MessageType::kComplete).min);
  Complete most;
  most.boot_id = std::string(kMaxNameBytes, 'b');
  for (std::uint32_t number = 0; number < kMaxFaultBuckets; ++number) {
    most.fault_buckets.push_back({number, ~0ULL});
  }
  EXPECT_EQ(encode(most).size(), body_limits(MessageType::kComplete).max);
  Describe least;
  least.regions = {{0, 1}};
  EXPECT_EQ(encode(least).size(), body_limits(MessageType::kDescribe).min);
}

TEST(Codec, EveryTruncationAndEveryLeftoverIsRefused) {
  for (const auto& frame : golden_frames()) {
    SCOPED_TRACE(frame.name);
    const Bytes body(frame.bytes.begin() + kHeaderBytes, frame.bytes.end());
    for (std::size_t size = 0; size < body.size(); ++size) {
      const Bytes part(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
      ASSERT_FALSE(reencode(frame.type, part).has_value()) << size;
    }
    Bytes longer = body;
    longer.push_back(std::byte{0});
    ASSERT_FALSE(reencode(frame.type, longer).has_value());
  }
}

TEST(Codec, HelloNamesTheFieldThatIsWrong) {
  // The body: count, 2 versions, features at 8 and 16, id at 24, role at 40.
  const auto body = encode(hello());
  expect_refused(decode_hello(patched(body, 0, 0)), "versions_offered: a count of 0");
  expect_refused(decode_hello(patched(body, 0, 17)), "versions_offered: a count of 17");
  expect_refused(decode_hello(patched(body, 3, 0x7f)), "versions_offered: a count of");
  expect_refused(decode_hello(patched(body, 4, 0)), "version 0 is invalid");
  expect_refused(decode_hello(patched(body, 4, 3)), "listed twice");
  expect_refused(decode_hello(patched(body, 16, 8)), "required but not offered");
  expect_refused(decode_hello(patched(body, 40, 0)), "role: 0");
  expect_refused(decode_hello(patched(body, 40, 3)), "role: 3");
  expect_refused(decode_hello(patched(body, 41, 4)), "channel_kind: 4");
}

TEST(Codec, ReservedBytesAreChecked) {
  Describe describe;
  describe.regions = {{0, 1}};
  describe.config = {{"n", 0, 1, true, {}}};
  expect_refused(decode_describe(patched(encode(describe), 2, 0)), "bulk_channels: 0");
  expect_refused(decode_describe(patched(encode(describe), 2, 65)), "bulk_channels: 65");
  expect_refused(decode_stale(patched(encode(Stale{{{0, 1, 1}}}), 8, 1)), "reserved");
  expect_refused(decode_page_request(patched(encode(PageRequest{{{0, 1}}}), 8, 1)), "reserved");
  expect_refused(decode_describe(patched(encode(describe), 3, 1)), "reserved");
  // count, name count, name, instance, version, required
  const auto body = encode(State{describe.config});
  expect_refused(decode_state(patched(body, 17, 2)), "required: 2");
  expect_refused(decode_state(patched(body, 18, 1)), "reserved");
  expect_refused(decode_state(patched(body, 20, 1)), "reserved");
}

TEST(Codec, OversizedCountsEndBeforeTheyAllocate) {
  Bytes huge(4, std::byte{0xff});
  expect_refused(decode_state(huge), "sections: a count of 4294967295");
  expect_refused(decode_stale(huge), "runs: a count of 4294967295");
  expect_refused(decode_page_request(huge), "pages: a count of 4294967295");
  expect_refused(decode_cancel(huge), "text: a count of 4294967295");
  auto figures = encode(Complete{});
  std::fill(figures.end() - 4, figures.end(), std::byte{0xff});
  expect_refused(decode_complete(figures), "fault_buckets: a count of 4294967295");
  // Within the cap, but the bytes are not there.
  Bytes many = {std::byte{0}, std::byte{4}, std::byte{0}, std::byte{0}};
  expect_refused(decode_state(many), "are left");
  expect_refused(decode_stale(many), "are left");
}

TEST(Codec, PagesBeyondAnyRegionAreRefused) {
  auto stale = encode(Stale{{{0, 1, 1}}});
  expect_refused(decode_stale(patched(stale, 20, 0)), "not legal");
  expect_refused(decode_stale(patched(stale, 19, 0xff)), "not legal");
  expect_refused(decode_stale(patched(stale, 27, 0xff)), "not legal");
  expect_refused(decode_page_request(patched(encode(PageRequest{{{0, 1}}}), 18, 0x10)),
                 "beyond any region");
  Describe describe;
  describe.regions = {{0, 1}};
  const auto body = encode(describe);  // region at 16: gpa, page_count
  expect_refused(decode_describe(patched(body, 17, 1)), "not legal");
  expect_refused(decode_describe(patched(body, 24, 0)), "not legal");
  expect_refused(decode_describe(patched(body, 31, 1)), "not legal");
}

TEST(Codec, FiguresOfAnotherShapeAreRefused) {
  // version, degraded, reserved, seven numbers, boot_id "b", count, buckets of 16 bytes
  const auto body = encode(complete());
  expect_refused(decode_complete(patched(body, 0, 2)), "version: 2 is not 1");
  expect_refused(decode_complete(patched(body, 2, 2)), "scheduling_degraded: 2");
  expect_refused(decode_complete(patched(body, 3, 1)), "reserved");
  expect_refused(decode_complete(patched(body, 60, 65)), "boot_id: a count of 65");
  expect_refused(decode_complete(patched(body, 64, 0x1b)), "control characters");
  constexpr std::size_t kFirst = 69;
  expect_refused(decode_complete(patched(body, kFirst, 5)), "bucket 5 with");
  expect_refused(decode_complete(patched(body, kFirst, 6)), "bucket 5 with");
  expect_refused(decode_complete(patched(body, kFirst + 4, 1)), "reserved");
  expect_refused(decode_complete(patched(body, kFirst + 8, 0)), "bucket 0 with 0");
  expect_refused(decode_complete(patched(body, kFirst + 33, 4)), "bucket 1279 with 3");
}

TEST(Codec, ADamagedSectionIsNamed) {
  const auto body = encode(state());
  expect_refused(decode_state(patched(body, 40, 9)),
                 "section vcpu instance 3 is damaged",
                 ErrorCode::kChecksum);
}

TEST(Codec, AnUnknownCodeKeepsItsText) {
  auto body = encode(Refuse{ErrorCode::kVersion, 1, "why"});
  const auto refuse = decode_refuse(patched(body, 0, 200));
  ASSERT_TRUE(refuse.has_value());
  EXPECT_EQ(refuse->code, ErrorCode::kRefused);
  EXPECT_EQ(refuse->text, "why");
  expect_refused(decode_refuse(patched(body, 0, 0)), "code: 0");
}

TEST(Codec, TextsCannotSteerATerminal) {
  const auto body = encode(Cancel{"a\x1b[2Jb\nc"});
  EXPECT_EQ(decode_cancel(body)->text, "a?[2Jb\nc");
  expect_refused(decode_cancel(patched(body, 5, 0x1b)), "control characters");
}

TEST(Codec, LongTextsAreCutBetweenCharacters) {
  std::string text(kMaxTextBytes - 1, 'a');
  text += "\xc3\xa9";
  EXPECT_EQ(decode_cancel(encode(Cancel{text}))->text, std::string(kMaxTextBytes - 1, 'a'));
}

TEST(Codec, ValidateSaysWhatCannotTravel) {
  EXPECT_TRUE(validate(state()).has_value());
  auto big = state();
  big.sections[0].payload.resize(kMaxStateBody);
  expect_refused(validate(big), "machine state of", ErrorCode::kInvalidArgument);
  big.sections[0].payload.resize(0);
  big.sections[0].payload.resize(kMaxStateBody - encode(big).size());
  ASSERT_TRUE(validate(big).has_value());
  EXPECT_EQ(encode(big).size(), kMaxStateBody);
  auto unnamed = state();
  unnamed.sections[1].name.clear();
  expect_refused(validate(unnamed), "section name", ErrorCode::kInvalidArgument);
  State many;
  many.sections.assign(kMaxSections + 1, Section{"s", 0, 1, true, {}});
  expect_refused(validate(many), "1025 sections", ErrorCode::kInvalidArgument);
  Describe describe;
  expect_refused(validate(describe), "0 memory regions", ErrorCode::kInvalidArgument);
  describe.regions = {{1, 1}};
  expect_refused(validate(describe), "not legal", ErrorCode::kInvalidArgument);
  describe.regions = {{0, 1}};
  describe.config = {{"c", 0, 1, true, Bytes(kMaxControlBody)}};
  expect_refused(validate(describe), "a description of", ErrorCode::kInvalidArgument);
  describe.config[0].payload.clear();
  describe.config[0].payload.resize(kMaxControlBody - encode(describe).size());
  ASSERT_TRUE(validate(describe).has_value());
  EXPECT_EQ(encode(describe).size(), kMaxControlBody);
}

}  // namespace
}  // namespace godwit::wire
