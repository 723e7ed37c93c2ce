#include "link/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "godwit/engine/states.h"
#include "godwit/wire/frame.h"

#include "fake_channel.h"

namespace godwit::engine {
namespace {

using testing::HasSubstr;

wire::Welcome welcome() {
  wire::Welcome welcome;
  welcome.version = wire::kProtocolVersion;
  welcome.features = wire::kFeatureBodyHash | wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
  welcome.session_id[3] = std::byte{9};
  welcome.session_epoch = 4;
  return welcome;
}

/// A channel of the source with its far end at hand.
struct Line {
  FakeChannel* far = nullptr;
  IdleLoop loop;
  std::unique_ptr<FrameChannel> channel;

  Line() {
    auto fake = std::make_unique<FakeChannel>();
    far = fake.get();
    channel = std::make_unique<FrameChannel>(std::move(fake), wire::kMaxControlBody, 4096);
    EXPECT_TRUE(channel->attach(loop, {}));
  }
};

TEST(SourceHandshake, OffersTheBodyHashOnlyWithChecksumsAndThenRequiresIt) {
  const auto with = SourceHandshake(true).hello(ChannelKind::kControl);
  EXPECT_NE(with.features_offered & wire::kFeatureBodyHash, 0U);
  EXPECT_EQ(with.features_required, wire::kFeatureBodyHash);
  const auto without = SourceHandshake(false).hello(ChannelKind::kControl);
  EXPECT_EQ(without.features_offered & wire::kFeatureBodyHash, 0U);
  EXPECT_EQ(without.features_required, 0U);
  EXPECT_EQ(with.role, wire::Role::kSource);
  EXPECT_EQ(with.session_id, wire::SessionId{}) << "the target issues it";
}

TEST(SourceHandshake, PageChannelsNameTheSessionThatTheControlChannelWasIssued) {
  SourceHandshake handshake(true);
  Line line;
  ASSERT_TRUE(handshake.take_session(wire::encode(welcome()), *line.channel));
  EXPECT_EQ(handshake.epoch(), 4U);
  const auto hello = handshake.hello(ChannelKind::kUrgent);
  EXPECT_EQ(hello.channel_kind, ChannelKind::kUrgent);
  EXPECT_EQ(hello.session_id, welcome().session_id);
  EXPECT_EQ(hello.session_epoch, 4U);
  line.channel->send(wire::MessageType::kCommit, wire::Commit{});
  ASSERT_EQ(line.far->frames().size(), 1U);
  EXPECT_EQ(line.far->frames()[0].header.epoch, 4U);
}

TEST(SourceHandshake, RefusesAnAnswerThatIsNoneToItsOffer) {
  SourceHandshake handshake(true);
  Line line;
  auto old = welcome();
  old.version = wire::kProtocolVersion + 1;
  EXPECT_EQ(handshake.take_session(wire::encode(old), *line.channel).error().code,
            ErrorCode::kVersion);
  auto unhashed = welcome();
  unhashed.features = wire::kFeatureZeroRuns;
  EXPECT_EQ(handshake.take_session(wire::encode(unhashed), *line.channel).error().code,
            ErrorCode::kVersion);
  EXPECT_EQ(handshake.epoch(), 0U) << "a refused answer changes nothing";
}

TEST(SourceHandshake, APageChannelIsAnsweredOnceAndForItsSession) {
  SourceHandshake handshake(true);
  Line control;
  ASSERT_TRUE(handshake.take_session(wire::encode(welcome()), *control.channel));
  const auto sent = handshake.hello(ChannelKind::kBulk);
  Line line;
  bool open = false;
  auto other = welcome();
  other.session_epoch = 5;
  EXPECT_FALSE(take_welcome(wire::encode(other), sent, *line.channel, open));
  open = false;
  ASSERT_TRUE(take_welcome(wire::encode(welcome()), sent, *line.channel, open));
  EXPECT_TRUE(open);
  const auto again = take_welcome(wire::encode(welcome()), sent, *line.channel, open);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().message(), "bulk channel: a second WELCOME");
  bool urgent_open = true;
  EXPECT_EQ(take_welcome(wire::encode(welcome()),
                         handshake.hello(ChannelKind::kUrgent),
                         *line.channel,
                         urgent_open)
                .error()
                .message(),
            "urgent channel: a second WELCOME");
}

/// A target that has a control channel, and the HELLO of its source for another channel.
class Described : public testing::Test {
 protected:
  void SetUp() override {
    auto session = target.admit(SourceHandshake(true).hello(ChannelKind::kControl), {});
    ASSERT_TRUE(session);
    target.expect(2);
  }
  [[nodiscard]] wire::Hello hello(ChannelKind kind, std::uint16_t index = 0) const {
    auto hello = SourceHandshake(true).hello(kind);
    hello.channel_index = index;
    hello.session_id = target.session().session_id;
    hello.session_epoch = target.session().session_epoch;
    return hello;
  }
  void expect_refused(const wire::Hello& hello, bool waits, const char* why) {
    const auto answer = target.admit(hello, {.waits_for_pages = waits});
    ASSERT_FALSE(answer) << why;
    EXPECT_EQ(answer.error().code, ErrorCode::kRefused);
    EXPECT_THAT(answer.error().message(), HasSubstr(why));
  }
  TargetHandshake target;
};

TEST(TargetHandshake, IssuesAnotherSessionToEachMigration) {
  TargetHandshake first;
  TargetHandshake second;
  const auto hello = SourceHandshake(true).hello(ChannelKind::kControl);
  const auto a = first.admit(hello, {});
  const auto b = second.admit(hello, {});
  ASSERT_TRUE(a && b);
  EXPECT_NE(a->session_id, b->session_id);
  EXPECT_NE(a->session_id, wire::SessionId{});
  EXPECT_EQ(a->session_epoch, 1U);
  EXPECT_EQ(a->features, hello.features_offered);
  EXPECT_EQ(*a, first.session());
}

TEST(TargetHandshake, RefusesVersionsAndFeaturesThatItDoesNotHave) {
  TargetHandshake target;
  auto hello = SourceHandshake(true).hello(ChannelKind::kControl);
  hello.versions_offered = {1};
  EXPECT_EQ(target.admit(hello, {}).error().code, ErrorCode::kVersion);
  hello = SourceHandshake(true).hello(ChannelKind::kControl);
  hello.features_offered = hello.features_required = 1ULL << 40;
  EXPECT_EQ(target.admit(hello, {}).error().code, ErrorCode::kVersion);
  EXPECT_TRUE(target.admit(SourceHandshake(true).hello(ChannelKind::kControl), {}))
      << "whoever was refused has taken nothing";
}

TEST(TargetHandshake, APageChannelBeforeAnyControlChannelIsRefused) {
  TargetHandshake target;
  EXPECT_FALSE(target.admit(SourceHandshake(true).hello(ChannelKind::kBulk), {}));
  EXPECT_FALSE(
      target.admit(SourceHandshake(true).hello(ChannelKind::kUrgent), {.waits_for_pages = true}))
      << "no bulk channel was promised, and the urgent one names no session";
}

TEST_F(Described, AdmitsEachChannelThatWasPromisedOnce) {
  for (const auto& asked :
       {hello(ChannelKind::kBulk, 1), hello(ChannelKind::kUrgent), hello(ChannelKind::kBulk, 0)}) {
    const auto answer = target.admit(asked, {.waits_for_pages = true});
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(*answer, target.session());
    expect_refused(asked, true, "this channel is open already");
  }
}

TEST_F(Described, RefusesWhatNobodyWaitsFor) {
  auto second = hello(ChannelKind::kControl);
  second.session_id = {};
  expect_refused(second, true, "this target has a migration already");
  expect_refused(hello(ChannelKind::kBulk), false, "belongs to no session that waits for one");
  expect_refused(hello(ChannelKind::kBulk, 2), true, "channel 2 is more than were described");
  expect_refused(hello(ChannelKind::kUrgent, 1), true, "channel 1 is more than were described");
  auto stranger = hello(ChannelKind::kBulk);
  stranger.session_id[0] ^= std::byte{1};
  expect_refused(stranger, true, "belongs to no session that waits for one");
  auto later = hello(ChannelKind::kBulk);
  ++later.session_epoch;
  expect_refused(later, true, "belongs to no session that waits for one");
  auto target_role = hello(ChannelKind::kBulk);
  target_role.role = wire::Role::kTarget;
  expect_refused(target_role, true, "belongs to no session that waits for one");
}

TEST(HearHello, TakesHelloAndNothingElse) {
  const auto sent = SourceHandshake(true).hello(ChannelKind::kUrgent);
  FakeChannel channel;
  wire::FrameWriter writer;
  channel.arrive(writer.frame(wire::MessageType::kHello, wire::encode(sent)));
  const auto heard = hear_hello(channel, Deadline::never());
  ASSERT_TRUE(heard) << heard.error().message();
  EXPECT_EQ(*heard, sent);

  FakeChannel silent;
  EXPECT_EQ(hear_hello(silent, Deadline::never()).error().code, ErrorCode::kTimeout);

  FakeChannel other;
  wire::FrameWriter others;
  other.arrive(others.frame(wire::MessageType::kCommit, {}));
  EXPECT_EQ(hear_hello(other, Deadline::never()).error().code, ErrorCode::kProtocol);
}

TEST(RefuseStranger, SaysWhyAndCloses) {
  FakeChannel channel;
  refuse_stranger(channel, make_error(ErrorCode::kRefused, "hello", "no room"));
  const auto frames = channel.frames();
  ASSERT_EQ(frames.size(), 1U);
  ASSERT_EQ(frames[0].header.type, wire::MessageType::kRefuse);
  const auto refuse = wire::decode_refuse(frames[0].body);
  ASSERT_TRUE(refuse);
  EXPECT_EQ(refuse->code, ErrorCode::kRefused);
  EXPECT_EQ(refuse->phase, static_cast<std::uint16_t>(TargetState::kListening));
  EXPECT_EQ(refuse->text, "hello: no room");
  EXPECT_TRUE(channel.is_shut_down());
}

/// A target that may take up a lost link, and its source.
class Recovering : public testing::Test {
 protected:
  static constexpr TargetHandshake::Door kRuns{.may_resume = true};
  static constexpr TargetHandshake::Door kResyncs{.waits_for_pages = true, .may_resume = true};

  void SetUp() override {
    const auto session = target.admit(source.hello(ChannelKind::kControl), {});
    ASSERT_TRUE(session);
    target.expect(1);
    ASSERT_TRUE(source.take_session(wire::encode(*session), *line.channel));
  }
  SourceHandshake source{true, true};
  TargetHandshake target{true};
  Line line;
};

TEST_F(Recovering, IsGrantedOnlyWhereBothWantIt) {
  EXPECT_TRUE(source.recovers());
  EXPECT_TRUE(target.recovers());
  for (const auto& [asks, grants] : {std::pair(true, false), std::pair(false, true)}) {
    SourceHandshake other(true, asks);
    TargetHandshake side(grants);
    const auto session = side.admit(other.hello(ChannelKind::kControl), {});
    ASSERT_TRUE(session);
    Line control;
    ASSERT_TRUE(other.take_session(wire::encode(*session), *control.channel));
    EXPECT_FALSE(other.recovers());
    EXPECT_FALSE(side.recovers());
    const auto again = side.admit(other.hello(ChannelKind::kControl), kRuns);
    ASSERT_FALSE(again);
    EXPECT_THAT(again.error().message(), HasSubstr("cannot be taken up again"));
  }
}

TEST_F(Recovering, EachReconnectBeginsAnEpochToWhichItsPageChannelsBelong) {
  const auto before = source.hello(ChannelKind::kBulk);
  ASSERT_TRUE(target.admit(before, kResyncs));
  const auto resumed = target.admit(source.hello(ChannelKind::kControl), kRuns);
  ASSERT_TRUE(resumed) << resumed.error().message();
  EXPECT_EQ(resumed->session_epoch, 2U);
  EXPECT_EQ(resumed->session_id, before.session_id);
  EXPECT_FALSE(target.admit(before, kResyncs)) << "a channel of the link that was lost";
  Line control;
  ASSERT_TRUE(source.take_resumed(wire::encode(*resumed), *control.channel));
  EXPECT_EQ(source.epoch(), 2U);
  EXPECT_TRUE(target.admit(source.hello(ChannelKind::kBulk), kResyncs)) << "each index once a link";
}

// The source gave up an attempt that the target took: the next one still counts.
TEST_F(Recovering, AnAttemptThatWasOvertakenDoesNotBarTheNext) {
  const auto hello = source.hello(ChannelKind::kControl);
  ASSERT_TRUE(target.admit(hello, kRuns));
  const auto next = target.admit(hello, kRuns);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->session_epoch, 3U);
  Line control;
  EXPECT_TRUE(source.take_resumed(wire::encode(*next), *control.channel));
}

TEST_F(Recovering, NobodyElseIsTakenForTheSource) {
  auto stranger = source.hello(ChannelKind::kControl);
  stranger.session_id[0] ^= std::byte{1};
  EXPECT_FALSE(target.admit(stranger, kRuns));
  EXPECT_FALSE(target.admit(source.hello(ChannelKind::kControl), {})) << "before READY";
  auto later = source.hello(ChannelKind::kControl);
  later.session_epoch += 1;
  EXPECT_FALSE(target.admit(later, kRuns)) << "an epoch that was never issued";
  EXPECT_EQ(target.session().session_epoch, 1U) << "who is refused changes nothing";
}

TEST_F(Recovering, TheSourceTakesOnlyALaterEpochOfItsOwnSession) {
  Line control;
  auto old = target.session();
  EXPECT_FALSE(source.take_resumed(wire::encode(old), *control.channel));
  auto other = target.session();
  other.session_epoch = 2;
  other.session_id[0] ^= std::byte{1};
  EXPECT_FALSE(source.take_resumed(wire::encode(other), *control.channel));
  EXPECT_EQ(source.epoch(), 1U);
}

}  // namespace
}  // namespace godwit::engine
