// Sources and strangers that stall, close or lie, as `godwit receive` meets them: each is turned
// away with a reason, all that it brought is given back, and the same process takes the next good
// guest.

#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/guest_under_test.h"
#include "support/fake_peer.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;
using wire::MessageType;

class BadSource : public testing::Test {
 protected:
  void TearDown() override { nothing_is_left(directory_); }
  TemporaryDirectory directory_;
};

/// A machine that this build's receiver takes, unless `change` spoils it.
wire::Describe description(std::uint64_t memory_bytes = 8ULL << 20) {
  wire::Describe describe;
  describe.postcopy_possible = false;
  describe.vcpus = 1;
  describe.kind = "process";
  describe.regions = {{0, memory_bytes / kPageBytes}};
  wire::Section config;
  config.name = "workload";
  const auto put = [&config](auto value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    config.payload.insert(config.payload.end(), bytes.begin(), bytes.end());
  };
  for (const std::uint32_t field : {2U, 1U, 1U, 1U}) {  // process, idle, random, one worker
    put(field);
  }
  for (const std::uint64_t field :
       {memory_bytes, memory_bytes, std::uint64_t{1} << 20, std::uint64_t{0}, std::uint64_t{1}}) {
    put(field);
  }
  put(std::uint32_t{0});
  describe.config = {config};
  return describe;
}

struct Knock {
  const char* name;
  void (*script)(FakeSource&);
  const char* code;   ///< of the attempt that failed; null: it was no attempt, only a stranger
  const char* phase;  ///< several where the receiver's threads may notice in any of them
  const char* says;
};
void PrintTo(const Knock& cell, std::ostream* out) {
  *out << cell.name;
}

class Stranger : public BadSource, public testing::WithParamInterface<Knock> {};

TEST_P(Stranger, IsTurnedAwayAndTheNextGuestIsTaken) {
  const auto& cell = GetParam();
  // A deadline only where it is what is tested: elsewhere a busy machine must not run into it.
  const bool times_out = cell.code != nullptr && std::string_view(cell.code) == "timeout";
  Receiver receiver(directory_, "receiver", times_out ? "--timeout 1s" : "");
  ASSERT_TRUE(receiver.listens()) << receiver.process().err();
  const auto before = Holdings::settled(receiver.process().pid());
  {
    FakeSource source(receiver.port());
    cell.script(source);
    if (cell.code != nullptr) {
      EXPECT_TRUE(eventually([&] { return receiver.status().value("failed_attempts", 0) == 1; }));
      const auto status = receiver.status();
      EXPECT_EQ(status["error"]["code"], cell.code) << json_text(status);
      EXPECT_THAT(cell.phase, HasSubstr(status["error"]["phase"].get<std::string>()));
      EXPECT_THAT(status["error"]["message"].get<std::string>(), HasSubstr(cell.says));
      EXPECT_THAT(receiver.process().err(), HasSubstr("no guest was received"));
    }
    if (*cell.says != '\0') {
      EXPECT_TRUE(eventually([&] {
        return receiver.process().err().find(cell.says) != std::string::npos;
      })) << receiver.process().err();
    }
  }
  EXPECT_TRUE(eventually([&] { return Holdings::of(receiver.process().pid()) == before; }, 5))
      << "before: " << before.text()
      << "; after: " << Holdings::of(receiver.process().pid()).text();
  EXPECT_TRUE(receiver.waits()) << json_text(receiver.status());
  GuestUnderTest guest(directory_);
  guest.goes_on_and_leaves(&receiver);
}

INSTANTIATE_TEST_SUITE_P(
    Hello,
    Stranger,
    testing::Values(Knock{"ClosesAtOnce",
                          [](FakeSource& source) { source.connect().close(); },
                          nullptr,
                          "",
                          "turned away"},
                    Knock{"SaysNothing",
                          [](FakeSource& source) { source.connect(); },
                          nullptr,
                          "",
                          "turned away"},
                    Knock{"SpeaksHttp",
                          [](FakeSource& source) {
                            source.connect().text(
                                "GET / HTTP/1.1\r\nHost: godwit\r\nUser-Agent: curl\r\n"
                                "Accept: */*\r\n\r\n");
                          },
                          nullptr,
                          "",
                          "turned away"},
                    Knock{"ClosesMidFrame",
                          [](FakeSource& source) {
                            auto line = source.connect();
                            const auto frame = line.frame(MessageType::kHello, source.hello());
                            line.raw(std::span(frame).first(frame.size() - 3));
                            line.close();
                          },
                          nullptr,
                          "",
                          "turned away"},
                    Knock{"SpeaksAnotherVersion",
                          [](FakeSource& source) {
                            auto hello = source.hello();
                            hello.versions_offered = {7, 8};
                            source.connect().send(MessageType::kHello, hello);
                          },
                          nullptr,
                          "",
                          "no common protocol version"},
                    Knock{"RequiresAnUnknownFeature",
                          [](FakeSource& source) {
                            auto hello = source.hello();
                            hello.features_offered |= 1ULL << 40;
                            hello.features_required = 1ULL << 40;
                            source.connect().send(MessageType::kHello, hello);
                          },
                          nullptr,
                          "",
                          "bit 40"},
                    Knock{"IsATarget",
                          [](FakeSource& source) {
                            auto hello = source.hello();
                            hello.role = wire::Role::kTarget;
                            source.connect().send(MessageType::kHello, hello);
                          },
                          nullptr,
                          "",
                          "turned away"},
                    Knock{"OpensBulkFirst",
                          [](FakeSource& source) {
                            source.connect().send(MessageType::kHello,
                                                  source.hello(wire::ChannelKind::kBulk));
                          },
                          nullptr,
                          "",
                          "belongs to no session"},
                    Knock{"BeginsWithAnotherMessage",
                          [](FakeSource& source) {
                            source.connect().send(MessageType::kDescribe, description());
                          },
                          nullptr,
                          "",
                          "no HELLO"}),
    [](const auto& cell) { return std::string(cell.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Describe,
    Stranger,
    testing::Values(Knock{"ClosesAfterHello",
                          [](FakeSource& source) { source.negotiate().close(); },
                          "closed",
                          "negotiating",
                          ""},
                    Knock{"SaysNothingAfterHello",
                          [](FakeSource& source) { source.negotiate(); },
                          "timeout",
                          "negotiating",
                          "no progress"},
                    Knock{"AnotherLayout",
                          [](FakeSource& source) {
                            auto describe = description();
                            describe.regions = {{0, 1024}, {1ULL << 32, 1024}};
                            source.negotiate().send(MessageType::kDescribe, describe);
                          },
                          "refused",
                          "negotiating",
                          "memory layout"},
                    Knock{"AnotherRegionSize",
                          [](FakeSource& source) {
                            auto describe = description();
                            describe.regions[0].page_count += 1;
                            source.negotiate().send(MessageType::kDescribe, describe);
                          },
                          "refused",
                          "negotiating",
                          "memory layout"},
                    Knock{
                        "UnknownRequiredSection",
                        [](FakeSource& source) {
                          auto describe = description();
                          describe.config.insert(describe.config.begin(), {"gpu", 0, 1, true, {}});
                          source.negotiate().send(MessageType::kDescribe, describe);
                        },
                        "refused",
                        "negotiating",
                        "'gpu' is required"},
                    Knock{"NewerConfiguration",
                          [](FakeSource& source) {
                            auto describe = description();
                            describe.config[0].version = 9;
                            source.negotiate().send(MessageType::kDescribe, describe);
                          },
                          "refused",
                          "negotiating",
                          "version 9"},
                    Knock{"NoConfiguration",
                          [](FakeSource& source) {
                            auto describe = description();
                            describe.config.clear();
                            source.negotiate().send(MessageType::kDescribe, describe);
                          },
                          "refused",
                          "negotiating",
                          "no guest configuration"},
                    Knock{"AnotherKind",
                          [](FakeSource& source) {
                            auto describe = description();
                            describe.kind = "kvm";
                            source.negotiate().send(MessageType::kDescribe, describe);
                          },
                          "refused",
                          "negotiating",
                          "contradicts"},
                    Knock{"MoreMemoryThanThereIs",
                          [](FakeSource& source) {
                            auto describe = description(4ULL << 40);
                            describe.regions = {{0, (2ULL << 40) / kPageBytes},
                                                {2ULL << 40, (2ULL << 40) / kPageBytes}};
                            source.negotiate().send(MessageType::kDescribe, describe);
                          },
                          "refused",
                          "negotiating",
                          "memory are available"}),
    [](const auto& cell) { return std::string(cell.param.name); });

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Setup, Stranger,
    testing::Values(
        Knock{"DamagedDescription", [](FakeSource& source) {
                auto line = source.negotiate();
                line.raw(damaged(line.frame(MessageType::kDescribe, description()), 70));
              }, "checksum", "negotiating", ""},
        Knock{"OversizedLength", [](FakeSource& source) {
                source.negotiate().raw(oversized(MessageType::kDescribe));
              }, "protocol", "negotiating", ""},
        Knock{"DescribesTwice", [](FakeSource& source) {
                source.described(description()).send(MessageType::kDescribe, description());
              }, "protocol", "setup", "second description"},
        Knock{"OpensNoChannels", [](FakeSource& source) { source.described(description()); },
              "timeout", "setup", "no progress"},
        Knock{"OpensOneChannel", [](FakeSource& source) {
                source.described(description());
                source.page_channel(wire::ChannelKind::kBulk);
              }, "timeout", "setup", "no progress"},
        Knock{"ClosesInSetup", [](FakeSource& source) { source.described(description()).close(); },
              "closed", "setup", ""},
        Knock{"AnotherSession", [](FakeSource& source) {
                source.described(description());
                auto hello = source.hello(wire::ChannelKind::kBulk);
                hello.session_id[5] ^= std::byte{1};
                auto line = source.connect();
                line.send(MessageType::kHello, hello);
                const auto answer = line.receive();
                ASSERT_TRUE(answer && answer->type == MessageType::kRefuse);
                EXPECT_THAT(wire::decode_refuse(answer->body)->text, HasSubstr("no session"));
              }, "timeout", "setup", ""},
        Knock{"AnotherEpoch", [](FakeSource& source) {
                source.described(description());
                auto hello = source.hello(wire::ChannelKind::kUrgent);
                hello.session_epoch += 1;
                auto line = source.connect();
                line.send(MessageType::kHello, hello);
                const auto answer = line.receive();
                EXPECT_TRUE(answer && answer->type == MessageType::kRefuse);
              }, "timeout", "setup", ""},
        Knock{"SameChannelTwice", [](FakeSource& source) {
                source.described(description());
                source.page_channel(wire::ChannelKind::kBulk);
                auto line = source.connect();
                line.send(MessageType::kHello, source.hello(wire::ChannelKind::kBulk));
                const auto answer = line.receive();
                ASSERT_TRUE(answer && answer->type == MessageType::kRefuse);
                EXPECT_THAT(wire::decode_refuse(answer->body)->text, HasSubstr("open already"));
              }, "timeout", "setup", ""},
        Knock{"SecondSource", [](FakeSource& source) {
                source.described(description());
                auto line = source.connect();
                line.send(MessageType::kHello, FakeSource(0).hello());
                const auto answer = line.receive();
                ASSERT_TRUE(answer && answer->type == MessageType::kRefuse);
                EXPECT_THAT(wire::decode_refuse(answer->body)->text, HasSubstr("migration already"));
              }, "timeout", "setup", ""}),
    [](const auto& cell) { return std::string(cell.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Receiving, Stranger,
    testing::Values(
        Knock{"Stalls", [](FakeSource& source) { source.opened(description()); },
              "timeout", "setup or receiving", "no progress"},
        Knock{"ClosesMidFrame", [](FakeSource& source) {
                auto lines = source.opened(description());
                lines.control.send(MessageType::kStale, wire::Stale{{{0, 1, 1}}});
                const auto frame = lines.bulk.frame_of(MessageType::kPages, pages_body(0, 1));
                lines.bulk.raw(std::span(frame).first(1000));
                lines.bulk.close();
              }, "closed", "setup or receiving", ""},
        Knock{"AnnouncesAPageOutside", [](FakeSource& source) {
                source.opened(description()).bulk.send(MessageType::kStale, wire::Stale{{{0, 4000, 10}}});
              }, "protocol", "setup or receiving", ""},
        Knock{"AnnouncesAnotherRegion", [](FakeSource& source) {
                source.opened(description()).control.send(MessageType::kStale, wire::Stale{{{7, 0, 1}}});
              }, "protocol", "setup or receiving", ""},
        Knock{"SendsAPageOutside", [](FakeSource& source) {
                auto bulk = source.opened(description()).bulk;
                bulk.raw(bulk.frame_of(MessageType::kPages, pages_body(0, 1ULL << 30)));
              }, "protocol", "setup or receiving", ""},
        Knock{"SendsAnotherRegion", [](FakeSource& source) {
                auto bulk = source.opened(description()).bulk;
                bulk.raw(bulk.frame_of(MessageType::kPages, pages_body(5, 1)));
              }, "protocol", "setup or receiving", ""},
        Knock{"SendsAPageUnannounced", [](FakeSource& source) {
                auto bulk = source.opened(description()).bulk;
                bulk.raw(bulk.frame_of(MessageType::kPages, pages_body(0, 1)));
              }, "protocol", "setup or receiving", ""},
        Knock{"DamagedPages", [](FakeSource& source) {
                auto bulk = source.opened(description()).bulk;
                bulk.send(MessageType::kStale, wire::Stale{{{0, 1, 1}}});
                bulk.raw(damaged(bulk.frame_of(MessageType::kPages, pages_body(0, 1)), 2000));
              }, "checksum", "setup or receiving", "page"},
        Knock{"DamagedPagesHeader", [](FakeSource& source) {
                auto bulk = source.opened(description()).bulk;
                bulk.raw(damaged(bulk.frame_of(MessageType::kPages, pages_body(0, 1)), 40));
              }, "checksum", "setup or receiving", ""},
        Knock{"DamagedStale", [](FakeSource& source) {
                auto bulk = source.opened(description()).bulk;
                bulk.raw(damaged(bulk.frame(MessageType::kStale, wire::Stale{{{0, 1, 1}}}), 66));
              }, "checksum", "setup or receiving", ""},
        Knock{"DamagedBarrier", [](FakeSource& source) {
                auto bulk = source.opened(description()).bulk;
                bulk.raw(damaged(bulk.frame(MessageType::kBarrier, wire::Barrier{1}), 66));
              }, "checksum", "setup or receiving", ""},
        Knock{"DamagedFinalSync", [](FakeSource& source) {
                auto control = source.opened(description()).control;
                control.raw(damaged(control.frame(MessageType::kFinalSync, wire::FinalSync{}), 66));
              }, "checksum", "setup or receiving", ""},
        Knock{"DamagedCancel", [](FakeSource& source) {
                auto control = source.opened(description()).control;
                control.raw(damaged(control.frame(MessageType::kCancel, wire::Cancel{"so"}), 66));
              }, "checksum", "setup or receiving", ""},
        Knock{"DamagedUrgent", [](FakeSource& source) {
                auto urgent = source.opened(description()).urgent;
                urgent.raw(damaged(urgent.frame_of(MessageType::kPages, pages_body(0, 1)), 2000));
              }, "checksum", "setup or receiving", ""},
        Knock{"OversizedPages", [](FakeSource& source) {
                auto header = oversized(MessageType::kPages);
                source.opened(description()).bulk.raw(header);
              }, "protocol", "setup or receiving", ""},
        Knock{"PromisesOtherPages", [](FakeSource& source) {
                source.opened(description()).control.send(MessageType::kFinalSync,
                                                          wire::FinalSync{12, 34});
              }, "protocol", "setup or receiving", "12 pages"},
        Knock{"StateTooEarly", [](FakeSource& source) {
                source.opened(description()).control.send(MessageType::kState, wire::State{});
              }, "protocol", "setup or receiving", "before the final sync"},
        Knock{"CommitTooEarly", [](FakeSource& source) {
                source.opened(description()).control.send(MessageType::kCommit, wire::Commit{});
              }, "protocol", "setup or receiving", "not legal"},
        Knock{"StallsAfterFinalSync", [](FakeSource& source) {
                source.opened(description()).control.send(MessageType::kFinalSync, wire::FinalSync{});
              }, "timeout", "setup or receiving", "no progress"},
        Knock{"DamagedState", [](FakeSource& source) {
                auto control = source.opened(description()).control;
                control.send(MessageType::kFinalSync, wire::FinalSync{});
                control.raw(damaged(control.frame(
                    MessageType::kState, wire::State{{{"vcpu", 0, 1, true, {}}}}), 70));
              }, "checksum", "setup or receiving", ""},
        Knock{"UnknownState", [](FakeSource& source) {
                auto control = source.opened(description()).control;
                control.send(MessageType::kFinalSync, wire::FinalSync{});
                control.send(MessageType::kState, wire::State{{{"flux", 0, 1, true, {}}}});
              }, "refused", "loading", "flux"},
        Knock{"Aborts", [](FakeSource& source) {
                source.opened(description()).control.send(
                    MessageType::kAbort, wire::Abort{ErrorCode::kInternal, 5, "I give up"});
              }, "internal", "setup or receiving", "I give up"}),
    [](const auto& cell) { return std::string(cell.param.name); });
// clang-format on

/// Forty connections that say nothing must not stand before one that does.
TEST_F(BadSource, SilentStrangersDelayNobody) {
  Receiver receiver(directory_, "receiver");
  ASSERT_TRUE(receiver.listens()) << receiver.process().err();
  GuestUnderTest guest(directory_);
  FakeSource silent(receiver.port());
  for (int i = 0; i < 40; ++i) {
    silent.connect();
  }
  // Waited for one after the other they would take eighty seconds.
  guest.goes_on_and_leaves(&receiver, "--timeout 8s");
}

}  // namespace
}  // namespace godwit::test
