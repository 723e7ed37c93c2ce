#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "godwit/base/result.h"
#include "godwit/base/units.h"

#include "cli/choices.h"

namespace godwit::app {

/// How the value of an option is read from its text and written as one. A value that says nothing
/// (an empty text, no fault) is written as an empty text.
/// Guarantees: read(write(value)) is `value`, for every value that read() gives.
/// Errors: kInvalidArgument with what is wrong with the text.
template <typename T>
struct Codec {
  Result<T> (*read)(const std::string& text);
  std::string (*write)(const T& value);
};

/// Errors: kInvalidArgument, with the names that are possible.
tl::unexpected<Error> unknown_name(const std::string& text, const std::string& choices);

/// The names of a table, see godwit/base/names.h.
template <const auto& kNames>
constexpr auto named() {
  using E = decltype(kNames.entries()[0].value);
  return Codec<std::remove_cv_t<E>>{
      [](const std::string& text) -> Result<std::remove_cv_t<E>> {
        const auto value = kNames.parse(text);
        if (!value) {
          return unknown_name(text, kNames.choices());
        }
        return *value;
      },
      [](const std::remove_cv_t<E>& value) -> std::string { return kNames.name_of(value); }};
}

extern const Codec<std::string> kText;            ///< any but an empty one
extern const Codec<std::uint64_t> kNumber;        ///< an integer without sign
extern const Codec<std::uint64_t> kSize;          ///< "64MiB"; written in plain bytes
extern const Codec<std::uint32_t> kCount;         ///< 1 to 1 000 000
extern const Codec<std::uint32_t> kChannelCount;  ///< 1 to wire::kMaxBulkChannels
/// "300ms". Units: ns, of whole microseconds.
extern const Codec<std::int64_t> kDuration;
extern const Codec<std::int64_t> kPositiveDuration;
/// "tcp:HOST:PORT" or "unix:PATH" in full: with the host, and with an absolute path.
extern const Codec<std::string> kEndpoint;
extern const Codec<std::string> kCongestion;     ///< a name of TCP's congestion control, or "auto"
extern const Codec<PageId> kPage;                ///< "REGION:PAGE"
extern const Codec<PlantedFault> kPlantedFault;  ///< "flip-bit", "blackout-delay=10ms"

}  // namespace godwit::app
