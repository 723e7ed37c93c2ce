#include "cli/codecs.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::app {
namespace {

/// What was read is written so that the same is read again.
template <typename T>
void expect_same_again(const Codec<T>& codec, const std::vector<std::string>& texts) {
  for (const auto& text : texts) {
    const auto value = codec.read(text);
    ASSERT_TRUE(value) << text << ": " << value.error().message();
    const auto written = codec.write(*value);
    const auto again = codec.read(written);
    ASSERT_TRUE(again) << written << ": " << again.error().message();
    EXPECT_EQ(codec.write(*again), written) << text;
  }
}

template <typename T>
void expect_refused(const Codec<T>& codec, const std::string& text, const std::string& why) {
  const auto value = codec.read(text);
  ASSERT_FALSE(value) << text;
  EXPECT_EQ(value.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(value.error().message(), why);
}

TEST(Codecs, ReadWhatTheyWrite) {
  expect_same_again(kText, {"a", "-x", "with blanks"});
  expect_same_again(kNumber, {"0", "18446744073709551615"});
  expect_same_again(kSize, {"0", "4KiB", "1TiB"});
  expect_same_again(kCount, {"1", "1000000"});
  expect_same_again(kChannelCount, {"1", "64"});
  expect_same_again(kDuration, {"0s", "1us", "1001us", "300ms", "922337203s"});
  expect_same_again(kPositiveDuration, {"1us", "10s"});
  expect_same_again(
      kEndpoint, {"tcp:0", "tcp::7000", "tcp:127.0.0.1:1", "tcp:[::1]:1", "unix:/a b", "unix:x"});
  expect_same_again(kCongestion, {"auto", "cubic", "bbr", "reno"});
  expect_same_again(kPage, {"0:0", "1:18446744073709551615"});
  expect_same_again(kPlantedFault,
                    {"flip-bit",
                     "drop-page",
                     "stale-page",
                     "skip-register",
                     "blackout-delay=10ms",
                     "fault-delay=0us",
                     "cut-before-commit",
                     "cut-after-commit"});
  expect_same_again(named<kGuestChoiceNames>(), {"auto", "kvm", "process"});
  expect_same_again(named<kTransportChoiceNames>(), {"auto", "uring", "poll"});
}

TEST(Codecs, SayWhatIsWrong) {
  expect_refused(kText, "", "must not be empty");
  expect_refused(kNumber, "1KiB", "'1KiB' is not an integer of 0 or more");
  expect_refused(kCount, "0", "'0' is not in 1..1000000");
  expect_refused(kCount, "1000001", "'1000001' is not in 1..1000000");
  expect_refused(kChannelCount, "65", "'65' is not in 1..64");
  expect_refused(kPositiveDuration, "0ms", "must be more than nothing");
  expect_refused(kEndpoint, "rdma:a:5", "'rdma:a:5' is neither tcp:HOST:PORT nor unix:PATH");
  expect_refused(kCongestion, "vegas", "'vegas' is unknown; possible: auto, cubic, bbr, reno");
  expect_refused(kPage, "1", "is not REGION:PAGE");
  expect_refused(kPage, "99999999999:1", "'99999999999:1' is too large");
  expect_refused(
      named<kGuestChoiceNames>(), "xen", "'xen' is unknown; possible: auto, kvm, process");
}

TEST(Codecs, APlantedFaultHasADelayWhereItNeedsOneAndNowhereElse) {
  const std::string possible =
      "flip-bit, drop-page, stale-page, skip-register, blackout-delay=D, fault-delay=D, "
      "cut-before-commit, cut-after-commit, outage=D";
  for (const std::string text : {"", "earthquake", "flip-bit=3ms", "blackout-delay", "none"}) {
    expect_refused(kPlantedFault, text, "'" + text + "' is unknown; possible: " + possible);
  }
  expect_refused(kPlantedFault,
                 "fault-delay=3",
                 "'3' is not a duration (an integer with us, ms or s; the unit is required)");
}

TEST(Codecs, NoFaultSaysNothing) {
  EXPECT_EQ(kPlantedFault.write({}), "");
}

TEST(Codecs, AnEndpointIsCompleted) {
  EXPECT_EQ(kEndpoint.read("tcp:7000").value(), "tcp:127.0.0.1:7000");
  EXPECT_EQ(kEndpoint.read("tcp::7000").value(), "tcp:127.0.0.1:7000");
  EXPECT_EQ(kEndpoint.read("unix:x").value().rfind("unix:/", 0), 0U) << "an absolute path";
}

}  // namespace
}  // namespace godwit::app
