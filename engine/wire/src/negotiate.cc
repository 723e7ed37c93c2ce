#include "godwit/wire/negotiate.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace godwit::wire {
namespace {

template <typename... Args>
tl::unexpected<Error> no_deal(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kVersion, "negotiation", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace

std::string feature_names(std::uint64_t features) {
  std::string text;
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t feature = features & (1ULL << bit);
    if (feature == 0) {
      continue;
    }
    text += text.empty() ? "" : ", ";
    switch (feature) {
      case kFeatureBodyHash:
        text += "body-hash";
        break;
      case kFeatureZeroRuns:
        text += "zero-runs";
        break;
      case kFeaturePostcopy:
        text += "postcopy";
        break;
      case kFeatureRecovery:
        text += "recovery";
        break;
      default:
        text += fmt::format("bit {}", bit);
    }
  }
  return text.empty() ? "none" : text;
}

Result<Welcome> negotiate(const Hello& peer,
                          std::span<const std::uint16_t> our_versions,
                          std::uint64_t our_features,
                          std::uint64_t our_required) {
  Welcome answer;
  for (const auto version : our_versions) {
    const auto& offered = peer.versions_offered;
    if (std::find(offered.begin(), offered.end(), version) != offered.end()) {
      answer.version = std::max(answer.version, version);
    }
  }
  if (answer.version == 0) {
    return no_deal("no common protocol version: the peer offers {}, this side speaks {}",
                   fmt::join(peer.versions_offered, ", "),
                   fmt::join(our_versions, ", "));
  }
  if (const auto missing = peer.features_required & ~our_features; missing != 0) {
    return no_deal("the peer requires features that this side does not have or allow: {}",
                   feature_names(missing));
  }
  if (const auto missing = our_required & ~peer.features_offered; missing != 0) {
    return no_deal("this side requires features that the peer does not offer: {}",
                   feature_names(missing));
  }
  answer.features = peer.features_offered & our_features;
  answer.session_id = peer.session_id;
  answer.session_epoch = peer.session_epoch;
  return answer;
}

Status check_welcome(const Hello& ours, const Welcome& answer) {
  const auto& offered = ours.versions_offered;
  if (std::find(offered.begin(), offered.end(), answer.version) == offered.end()) {
    return no_deal("the peer chose protocol version {}, which was not offered", answer.version);
  }
  if (const auto extra = answer.features & ~ours.features_offered; extra != 0) {
    return no_deal("the peer chose features that were not offered: {}", feature_names(extra));
  }
  if (const auto missing = ours.features_required & ~answer.features; missing != 0) {
    return no_deal("the peer did not grant required features: {}", feature_names(missing));
  }
  const bool named = ours.session_id != SessionId{};
  if (named && answer.session_id != ours.session_id) {
    return fail(ErrorCode::kProtocol, "negotiation", "the peer answered for another session");
  }
  if (named && answer.session_epoch != ours.session_epoch) {
    return fail(ErrorCode::kProtocol,
                "negotiation",
                fmt::format("the peer answered for epoch {} instead of {}",
                            answer.session_epoch,
                            ours.session_epoch));
  }
  return {};
}

}  // namespace godwit::wire
