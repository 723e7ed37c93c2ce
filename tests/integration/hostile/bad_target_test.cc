// Targets that are not there, do not fit, stall, close or lie, as `godwit migrate` meets them: the
// guest goes on at the source, which gives back all that it took, and leaves for a good target
// afterwards.

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <ostream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/guest_under_test.h"
#include "support/command/surroundings.h"
#include "support/fake_peer.h"
#include "support/require_kvm.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;
using wire::MessageType;

/// Small enough not to wait for, long enough for a busy machine.
constexpr const char* kBrief = "--timeout 500ms";

class BadTarget : public testing::Test {
 protected:
  void TearDown() override { nothing_is_left(directory_); }

  /// The report and the readable text both name code, side, phase and cause.
  static void check_failure(const Outcome& ran,
                            const std::string& code,
                            const std::string& side,
                            const std::string& phase,
                            const std::string& says) {
    EXPECT_EQ(ran.code, 1) << ran.all();
    ASSERT_TRUE(ran.json.is_object()) << ran.all();
    EXPECT_EQ(ran.json["outcome"], "failed");
    EXPECT_EQ(ran.error("code"), code) << ran.all();
    EXPECT_EQ(ran.error("side"), side) << ran.all();
    EXPECT_EQ(ran.error("phase"), phase) << ran.all();
    EXPECT_THAT(ran.error("message"), HasSubstr(says));
  }

  TemporaryDirectory directory_;
};

TEST_F(BadTarget, NobodyListens) {
  GuestUnderTest guest(directory_);
  std::uint16_t port = 0;
  {
    Receiver gone(directory_, "gone");
    port = gone.port();
    gone.stop();
  }
  const auto to = fmt::format("tcp:127.0.0.1:{}", port);
  check_failure(guest.migrate(to), "io", "source", "connecting", "nobody listens at tcp:127.0.0.1");
  const auto text = run(fmt::format("migrate --control {} --to {}", guest.control(), to));
  EXPECT_EQ(text.code, 1);
  EXPECT_THAT(text.out, HasSubstr("noticed by the source in phase connecting"));
  guest.goes_on_and_leaves();
}

TEST_F(BadTarget, NameThatIsNone) {
  GuestUnderTest guest(directory_);
  check_failure(guest.migrate("tcp:host.invalid:7000", kBrief),
                "invalid-argument",
                "source",
                "connecting",
                "host.invalid");
  guest.goes_on_and_leaves();
}

// ----------------------------------------------------------------------- targets that do not fit

struct Misfit {
  const char* name;
  const char* guest;    ///< options of the guest, instead of the usual ones
  const char* options;  ///< of receive
  void (*prepare)();
  const char* migrate;
  const char* says;
  const char* then;  ///< options with which the same receiver takes it; null: another receiver
  bool needs_kvm = false;
};
void PrintTo(const Misfit& cell, std::ostream* out) {
  *out << cell.name;
}

class MisfitTarget : public BadTarget, public testing::WithParamInterface<Misfit> {};

TEST_P(MisfitTarget, RefusesWithAReasonAndWaitsForTheNext) {
  const auto& cell = GetParam();
  if (cell.needs_kvm) {
    GODWIT_NEED_KVM();
  }
  if (cell.prepare != nullptr && ::geteuid() != 0) {
    GODWIT_MISSING("surroundings", "needs root to take devices and system calls away");
  }
  Receiver misfit(directory_, "misfit", cell.options, cell.prepare);
  if (misfit.process().ended() && misfit.process().wait() == kCannot) {
    GODWIT_MISSING("surroundings", "these surroundings cannot be made here");
  }
  ASSERT_TRUE(misfit.listens()) << misfit.process().err();
  const auto before = Holdings::settled(misfit.process().pid());
  GuestUnderTest guest(directory_, cell.guest);
  const auto ran = guest.migrate(misfit.address(), cell.migrate);
  check_failure(ran, "refused", "target", "negotiating", cell.says);
  EXPECT_EQ(ran.json["bytes"]["page_payload"], 0);
  EXPECT_TRUE(eventually([&] { return misfit.waits(); }));
  const auto status = misfit.status();
  EXPECT_EQ(status["failed_attempts"], 1);
  EXPECT_EQ(status["error"]["code"], "refused");
  EXPECT_THAT(misfit.process().err(), HasSubstr("no guest was received"));
  EXPECT_TRUE(eventually([&] { return Holdings::of(misfit.process().pid()) == before; }, 5))
      << "before: " << before.text() << "; after: " << Holdings::of(misfit.process().pid()).text();
  if (cell.then != nullptr) {
    guest.goes_on_and_leaves(&misfit, cell.then);
  } else {
    guest.goes_on_and_leaves();
    misfit.stop();
  }
}

INSTANTIATE_TEST_SUITE_P(Targets,
                         MisfitTarget,
                         testing::Values(Misfit{"MemoryCap",
                                                GuestUnderTest::kOptions,
                                                "--memory 8MiB",
                                                nullptr,
                                                "",
                                                "--memory allows",
                                                nullptr},
                                         Misfit{"AddressSpace",
                                                "--guest process --memory 64GiB --populated 32MiB",
                                                "",
                                                [] { limit(RLIMIT_AS, 32ULL << 30); },
                                                "",
                                                "RLIMIT_AS",
                                                nullptr},
                                         Misfit{"FileSize",
                                                GuestUnderTest::kOptions,
                                                "",
                                                [] { limit(RLIMIT_FSIZE, 8ULL << 20); },
                                                "",
                                                "RLIMIT_FSIZE",
                                                nullptr},
                                         Misfit{"NoUserfaultfdHybrid",
                                                GuestUnderTest::kOptions,
                                                "",
                                                without_userfaultfd,
                                                "",
                                                "userfaultfd",
                                                "--mode precopy"},
                                         Misfit{"NoUserfaultfdPostcopy",
                                                GuestUnderTest::kOptions,
                                                "",
                                                without_userfaultfd,
                                                "--mode postcopy",
                                                "userfaultfd",
                                                "--mode stop-and-copy"},
                                         Misfit{
                                             "NoKvm",
                                             "--guest kvm --memory 32MiB --workload random-write",
                                             "",
                                             without_kvm,
                                             "",
                                             "/dev/kvm",
                                             nullptr,
                                             true}),
                         [](const auto& cell) { return std::string(cell.param.name); });

TEST_F(BadTarget, MemoryGroupLeavesTooLittle) {
  const MemoryGroup group(96ULL << 20);
  if (!group.usable()) {
    GODWIT_MISSING("surroundings", "no memory group can be made here");
  }
  Receiver misfit(directory_, "misfit", "", [&group] { group.join(); });
  ASSERT_TRUE(misfit.listens()) << misfit.process().err();
  GuestUnderTest guest(directory_, "--guest process --memory 64MiB");
  check_failure(guest.migrate(misfit.address()),
                "refused",
                "target",
                "negotiating",
                "available here (host and cgroup limits)");
  EXPECT_TRUE(eventually([&] { return misfit.waits(); }));
  guest.goes_on_and_leaves();
  misfit.stop();
}

// -------------------------------------------------------------------------- targets that misbehave

struct Misdeed {
  const char* name;
  void (*script)(FakeTarget&);
  const char* code;
  const char* side;
  const char* phase;
  const char* says;
  /// A deadline only where it is what is tested: elsewhere a busy machine must not run into it.
  [[nodiscard]] const char* options() const {
    return std::string_view(code) == "timeout" ? kBrief : "";
  }
};
void PrintTo(const Misdeed& cell, std::ostream* out) {
  *out << cell.name;
}

class MisbehavingTarget : public BadTarget, public testing::WithParamInterface<Misdeed> {};

TEST_P(MisbehavingTarget, LeavesTheGuestAtTheSource) {
  const auto& cell = GetParam();
  GuestUnderTest guest(directory_);
  {
    FakeTarget target(cell.script);
    check_failure(guest.migrate(target.address(), cell.options()),
                  cell.code,
                  cell.side,
                  cell.phase,
                  cell.says);
  }
  guest.goes_on_and_leaves();
}

INSTANTIATE_TEST_SUITE_P(
    Hello,
    MisbehavingTarget,
    testing::Values(Misdeed{"ClosesAtOnce",
                            [](FakeTarget& target) { target.accept().close(); },
                            "closed",
                            "source",
                            "negotiating",
                            "recv"},
                    Misdeed{"SaysNothing",
                            [](FakeTarget& target) { target.accept(); },
                            "timeout",
                            "source",
                            "negotiating",
                            "no progress"},
                    Misdeed{"SpeaksHttp",
                            [](FakeTarget& target) {
                              target.accept().text(
                                  "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                                  "Connection: close\r\n\r\n-------------");
                            },
                            "protocol",
                            "source",
                            "negotiating",
                            ""},
                    Misdeed{"RefusesTheVersion",
                            [](FakeTarget& target) {
                              target.accept().send(
                                  MessageType::kRefuse,
                                  wire::Refuse{ErrorCode::kVersion, 1, "no common version"});
                            },
                            "version",
                            "target",
                            "listening",
                            "no common version"},
                    Misdeed{"ChoosesAnotherVersion",
                            [](FakeTarget& target) {
                              auto line = target.accept();
                              auto welcome = FakeTarget::welcome();
                              welcome.version = 9;
                              line.send(MessageType::kWelcome, welcome);
                            },
                            "version",
                            "source",
                            "negotiating",
                            "version 9, which was not offered"},
                    Misdeed{"ChoosesUnknownFeatures",
                            [](FakeTarget& target) {
                              auto line = target.accept();
                              auto welcome = FakeTarget::welcome();
                              welcome.features |= 1ULL << 40;
                              line.send(MessageType::kWelcome, welcome);
                            },
                            "version",
                            "source",
                            "negotiating",
                            "bit 40"},
                    Misdeed{"GrantsNoChecksums",
                            [](FakeTarget& target) {
                              auto line = target.accept();
                              auto welcome = FakeTarget::welcome();
                              welcome.features = wire::kFeatureZeroRuns;
                              line.send(MessageType::kWelcome, welcome);
                            },
                            "version",
                            "source",
                            "negotiating",
                            "body-hash"}),
    [](const auto& cell) { return std::string(cell.param.name); });

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Setup, MisbehavingTarget,
    testing::Values(
        Misdeed{"StopsAfterWelcome", [](FakeTarget& target) { target.negotiate(); },
                "timeout", "source", "setup", "no progress for 500 ms"},
        Misdeed{"ClosesAfterWelcome", [](FakeTarget& target) { target.negotiate().close(); },
                "closed", "source", "setup", ""},
        Misdeed{"ClosesMidFrame", [](FakeTarget& target) {
                  auto line = target.asked();
                  const auto frame = line.frame(MessageType::kAccept, wire::Accept{0, false, "alias"});
                  line.raw(std::span(frame).first(frame.size() - 1));
                  line.close();
                }, "closed", "source", "setup", ""},
        Misdeed{"DamagedHeader", [](FakeTarget& target) {
                  auto line = target.asked();
                  line.raw(damaged(line.frame(MessageType::kAccept, wire::Accept{0, false, "alias"}), 24));
                }, "checksum", "source", "setup", ""},
        Misdeed{"DamagedAccept", [](FakeTarget& target) {
                  auto line = target.asked();
                  line.raw(damaged(line.frame(MessageType::kAccept, wire::Accept{0, false, "alias"}), 66));
                }, "checksum", "source", "setup", ""},
        Misdeed{"OversizedLength", [](FakeTarget& target) {
                  target.asked().raw(oversized(MessageType::kAccept));
                }, "protocol", "source", "setup", ""},
        Misdeed{"AcceptsTwice", [](FakeTarget& target) {
                  target.described().send(MessageType::kAccept, wire::Accept{0, false, "alias"});
                }, "protocol", "source", "setup", "out of place"},
        Misdeed{"TakesNoChannels", [](FakeTarget& target) { target.described(); },
                "timeout", "source", "setup", "no progress"},
        Misdeed{"StopsListening", [](FakeTarget& target) {
                  auto line = target.asked();
                  target.stop_listening();
                  line.send(MessageType::kAccept, wire::Accept{0, false, "alias"});
                }, "io", "source", "setup", "nobody listens"},
        Misdeed{"LeavesUrgentUnanswered", [](FakeTarget& target) {
                  target.described();
                  target.page_channel();
                  target.accept();
                }, "timeout", "source", "setup", "no progress"},
        Misdeed{"RefusesBulk", [](FakeTarget& target) {
                  target.described();
                  target.accept().send(MessageType::kRefuse,
                                       wire::Refuse{ErrorCode::kRefused, 1, "no more channels"});
                }, "refused", "target", "listening", "no more channels"}),
    [](const auto& cell) { return std::string(cell.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Precopy, MisbehavingTarget,
    testing::Values(
        Misdeed{"ReadsNoPages", [](FakeTarget& target) { target.receiving(); },
                "timeout", "source", "precopy", "no progress"},
        Misdeed{"Closes", [](FakeTarget& target) { target.receiving().bulk.close(); },
                "closed", "source", "precopy", ""},
        Misdeed{"ClosesTheControlChannel", [](FakeTarget& target) { target.receiving().control.close(); },
                "closed", "source", "precopy", ""},
        Misdeed{"ClosesTheUrgentChannel", [](FakeTarget& target) { target.receiving().urgent.close(); },
                "closed", "source", "precopy", ""},
        Misdeed{"Aborts", [](FakeTarget& target) {
                  target.receiving().control.send(MessageType::kAbort,
                                               wire::Abort{ErrorCode::kNoMemory, 4, "memory is gone"});
                }, "no-memory", "target", "receiving", "memory is gone"},
        Misdeed{"RequestsAPageTooEarly", [](FakeTarget& target) {
                  target.receiving().urgent.send(MessageType::kPageRequest, wire::PageRequest{{{0, 1}}});
                }, "protocol", "source", "precopy", "before the switch"},
        Misdeed{"SendsPages", [](FakeTarget& target) {
                  auto lines = target.receiving();
                  lines.bulk.raw(lines.bulk.frame_of(MessageType::kPages, pages_body(0, 1)));
                }, "protocol", "source", "precopy", ""},
        Misdeed{"IsReadyTooEarly", [](FakeTarget& target) {
                  target.receiving().control.send(MessageType::kReady, wire::Ready{});
                }, "protocol", "source", "precopy", "not legal"},
        Misdeed{"RunsTooEarly", [](FakeTarget& target) {
                  target.receiving().control.send(MessageType::kRunning, wire::Running{});
                }, "protocol", "source", "precopy", "not legal"}),
    [](const auto& cell) { return std::string(cell.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Switch, MisbehavingTarget,
    testing::Values(
        Misdeed{"AcknowledgesNoBarrier", [](FakeTarget& target) {
                  target.opened().bulk.await(MessageType::kFinish);
                }, "timeout", "source", "barrier", "no progress"},
        Misdeed{"AcknowledgesAnotherBarrier", [](FakeTarget& target) {
                  auto lines = target.opened();
                  lines.bulk.await(MessageType::kBarrier);
                  lines.bulk.send(MessageType::kBarrierAck, wire::BarrierAck{77});
                }, "protocol", "source", "barrier", "another barrier"},
        Misdeed{"DamagesTheAcknowledgement", [](FakeTarget& target) {
                  auto lines = target.opened();
                  lines.bulk.await(MessageType::kBarrier);
                  lines.bulk.raw(damaged(
                      lines.bulk.frame(MessageType::kBarrierAck, wire::BarrierAck{1}), 65));
                }, "checksum", "source", "barrier", ""},
        Misdeed{"IsNeverReady", [](FakeTarget& target) { target.switched(); },
                "timeout", "source", "state-transfer", "no progress"},
        Misdeed{"ClosesAtTheState", [](FakeTarget& target) {
                  auto lines = target.switched();
                  lines.control.await(MessageType::kState);
                  lines.control.close();
                }, "closed", "source", "state-transfer", ""},
        Misdeed{"CannotLoadTheState", [](FakeTarget& target) {
                  auto lines = target.switched();
                  lines.control.await(MessageType::kState);
                  lines.control.send(MessageType::kAbort,
                                     wire::Abort{ErrorCode::kRefused, 5, "no such register"});
                }, "refused", "target", "loading", "no such register"},
        Misdeed{"IsReadyInAnotherEpoch", [](FakeTarget& target) {
                  auto lines = target.switched();
                  lines.control.await(MessageType::kState);
                  lines.control.writer().set_epoch(5);
                  lines.control.send(MessageType::kReady, wire::Ready{});
                }, "protocol", "source", "state-transfer", "another epoch"},
        Misdeed{"DamagesReady", [](FakeTarget& target) {
                  auto lines = target.switched();
                  lines.control.await(MessageType::kState);
                  lines.control.raw(damaged(lines.control.frame(MessageType::kReady, wire::Ready{}), 6));
                }, "checksum", "source", "state-transfer", ""},
        Misdeed{"RequestsAPageOutside", [](FakeTarget& target) {
                  auto lines = target.switched();
                  lines.control.await(MessageType::kState);
                  lines.urgent.send(MessageType::kPageRequest, wire::PageRequest{{{3, 1}}});
                }, "protocol", "source", "state-transfer", "outside the guest's memory"},
        Misdeed{"RequestsAPageBeyond", [](FakeTarget& target) {
                  auto lines = target.switched();
                  lines.control.await(MessageType::kState);
                  lines.urgent.send(MessageType::kPageRequest, wire::PageRequest{{{0, 1ULL << 40}}});
                }, "protocol", "source", "state-transfer", "outside the guest's memory"}),
    [](const auto& cell) { return std::string(cell.param.name); });
// clang-format on

}  // namespace
}  // namespace godwit::test
