#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "godwit/base/result.h"
#include "godwit/wire/codec.h"

namespace godwit::wire {

/// Features that this library implements.
inline constexpr std::uint64_t kKnownFeatures =
    kFeatureBodyHash | kFeatureZeroRuns | kFeaturePostcopy | kFeatureRecovery;

/// "body-hash, postcopy, bit 9": feature bits for people; "none" for 0.
[[nodiscard]] std::string feature_names(std::uint64_t features);

/// The answer to a HELLO: the newest common version and the common features. Session id and epoch
/// are the peer's; a target that issues the id puts it in afterwards. Errors: kVersion when no
/// version is common, the peer requires a feature that is not ours, or we one that it does not
/// offer. Nothing has changed then: send the text in a REFUSE.
[[nodiscard]] Result<Welcome> negotiate(const Hello& peer,
                                        std::span<const std::uint16_t> our_versions,
                                        std::uint64_t our_features,
                                        std::uint64_t our_required);

/// Whether a WELCOME answers our HELLO: version and features offered, all required ones granted,
/// session id and epoch unchanged where we named a session (a non-zero id). Errors: kVersion,
/// kProtocol.
[[nodiscard]] Status check_welcome(const Hello& ours, const Welcome& answer);

}  // namespace godwit::wire
