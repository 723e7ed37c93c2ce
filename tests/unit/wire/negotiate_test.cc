#include "godwit/wire/negotiate.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::wire {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::array<std::uint16_t, 3> kOurs = {1, 2, 3};

Hello offer() {
  Hello message;
  message.versions_offered = {1, 2, 7};
  message.features_offered = kFeatureBodyHash | kFeaturePostcopy;
  message.features_required = kFeatureBodyHash;
  message.session_id[0] = std::byte{9};
  message.session_epoch = 4;
  return message;
}

TEST(Negotiate, TakesTheNewestCommonVersionAndTheCommonFeatures) {
  const auto answer = negotiate(offer(), kOurs, kFeatureBodyHash | kFeatureZeroRuns, 0);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->version, 2);
  EXPECT_EQ(answer->features, kFeatureBodyHash);
  EXPECT_EQ(answer->session_id, offer().session_id);
  EXPECT_EQ(answer->session_epoch, 4U);
  EXPECT_TRUE(check_welcome(offer(), *answer).has_value());
}

TEST(Negotiate, RefusesWithoutACommonVersion) {
  auto peer = offer();
  peer.versions_offered = {7, 8};
  const auto answer = negotiate(peer, kOurs, kKnownFeatures, 0);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kVersion);
  EXPECT_THAT(answer.error().message(), AllOf(HasSubstr("7, 8"), HasSubstr("1, 2, 3")));
}

TEST(Negotiate, RefusesAnUnknownRequiredFeature) {
  auto peer = offer();
  peer.features_offered |= 1ULL << 40;
  EXPECT_TRUE(negotiate(peer, kOurs, kKnownFeatures, 0).has_value()) << "offered only";
  peer.features_required |= 1ULL << 40;
  const auto answer = negotiate(peer, kOurs, kKnownFeatures, 0);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kVersion);
  EXPECT_THAT(answer.error().message(), HasSubstr("bit 40"));
}

TEST(Negotiate, RefusesWhenThePeerLacksWhatWeRequire) {
  const auto answer = negotiate(offer(), kOurs, kKnownFeatures, kFeatureZeroRuns);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kVersion);
  EXPECT_THAT(answer.error().message(), HasSubstr("zero-runs"));
}

TEST(CheckWelcome, RefusesWhatWasNotOffered) {
  Welcome good;
  good.version = 2;
  good.features = kFeatureBodyHash;
  good.session_id = offer().session_id;
  good.session_epoch = 4;
  ASSERT_TRUE(check_welcome(offer(), good).has_value());
  auto bad = good;
  bad.version = 3;
  EXPECT_EQ(check_welcome(offer(), bad).error().code, ErrorCode::kVersion);
  bad = good;
  bad.features |= kFeatureZeroRuns;
  EXPECT_EQ(check_welcome(offer(), bad).error().code, ErrorCode::kVersion);
  bad = good;
  bad.features = 0;
  EXPECT_EQ(check_welcome(offer(), bad).error().code, ErrorCode::kVersion);
  bad = good;
  bad.session_id[0] = std::byte{1};
  EXPECT_EQ(check_welcome(offer(), bad).error().code, ErrorCode::kProtocol);
  bad = good;
  bad.session_epoch = 5;
  EXPECT_EQ(check_welcome(offer(), bad).error().code, ErrorCode::kProtocol);
}

TEST(CheckWelcome, TheFirstConnectionTakesTheIssuedSession) {
  auto ours = offer();
  ours.session_id = {};
  Welcome answer;
  answer.version = 1;
  answer.features = kFeatureBodyHash;
  answer.session_id[3] = std::byte{77};
  EXPECT_TRUE(check_welcome(ours, answer).has_value());
}

TEST(FeatureNames, AreReadable) {
  EXPECT_EQ(feature_names(0), "none");
  EXPECT_EQ(feature_names(kKnownFeatures | 1ULL << 63),
            "body-hash, zero-runs, postcopy, recovery, bit 63");
}

}  // namespace
}  // namespace godwit::wire
