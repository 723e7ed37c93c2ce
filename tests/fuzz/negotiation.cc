// Two peers' versions and features, and an answer that need not be the right one.
#include <algorithm>

#include "godwit/base/check.h"
#include "godwit/wire/negotiate.h"

#include "fuzz_target.h"

namespace godwit::fuzz {
namespace {

/// 1 to 16 versions, none 0 and none twice: what the decoder of HELLO lets through.
std::vector<std::uint16_t> take_versions(Taker& in) {
  std::vector<std::uint16_t> versions;
  for (auto count = 1 + in.take<std::uint8_t>() % wire::kMaxVersions; count > 0; --count) {
    const auto version = std::max<std::uint16_t>(1, in.take<std::uint8_t>());
    if (std::find(versions.begin(), versions.end(), version) == versions.end()) {
      versions.push_back(version);
    }
  }
  return versions;
}

wire::SessionId take_session(Taker& in) {
  wire::SessionId id{};
  id.fill(static_cast<std::byte>(in.take<std::uint8_t>() % 3));
  return id;
}

bool has(const std::vector<std::uint16_t>& versions, std::uint16_t version) {
  return std::find(versions.begin(), versions.end(), version) != versions.end();
}

void check_answer(const wire::Hello& hello,
                  const wire::Welcome& answer,
                  const std::vector<std::uint16_t>& versions,
                  std::uint64_t features,
                  std::uint64_t required) {
  GODWIT_CHECK(has(versions, answer.version) && has(hello.versions_offered, answer.version));
  for (const auto version : versions) {
    GODWIT_CHECK(version <= answer.version || !has(hello.versions_offered, version));
  }
  GODWIT_CHECK(answer.features == (features & hello.features_offered));
  GODWIT_CHECK((required & ~answer.features) == 0);
  GODWIT_CHECK(wire::check_welcome(hello, answer).has_value());
}

/// What check_welcome() promises, said once more.
bool acceptable(const wire::Hello& hello, const wire::Welcome& answer) {
  const bool named = hello.session_id != wire::SessionId{};
  return has(hello.versions_offered, answer.version) &&
         (answer.features | hello.features_offered) == hello.features_offered &&
         (answer.features & hello.features_required) == hello.features_required &&
         (!named ||
          (answer.session_id == hello.session_id && answer.session_epoch == hello.session_epoch));
}

}  // namespace

void run_negotiation(Bytes input) {
  Taker in(input);
  wire::Hello hello;
  hello.versions_offered = take_versions(in);
  hello.features_offered = in.take<std::uint64_t>();
  hello.features_required = in.take<std::uint64_t>() & hello.features_offered;
  hello.session_id = take_session(in);
  hello.session_epoch = in.take<std::uint8_t>() % 3;
  const auto versions = take_versions(in);
  const auto features = in.take<std::uint64_t>();
  const auto required = in.take<std::uint64_t>() & features;

  const auto decoded = wire::decode_hello(wire::encode(hello));
  GODWIT_CHECK(decoded && *decoded == hello);
  auto answer = wire::negotiate(hello, versions, features, required);
  const bool common = std::any_of(versions.begin(), versions.end(), [&](std::uint16_t version) {
    return has(hello.versions_offered, version);
  });
  GODWIT_CHECK(answer.has_value() == (common && (hello.features_required & ~features) == 0 &&
                                      (required & ~hello.features_offered) == 0));
  if (!answer) {
    GODWIT_CHECK(answer.error().code == ErrorCode::kVersion && !answer.error().detail.empty());
    return;
  }
  check_answer(hello, *answer, versions, features, required);
  answer->version = static_cast<std::uint16_t>(answer->version + in.take<std::uint8_t>() % 2);
  answer->features ^= in.take<std::uint64_t>();
  answer->session_id = take_session(in);
  answer->session_epoch = in.take<std::uint8_t>() % 3;
  GODWIT_CHECK(wire::check_welcome(hello, *answer).has_value() == acceptable(hello, *answer));
}

std::vector<Seed> negotiation_seeds() {
  const auto both = [](std::uint8_t theirs, std::uint8_t ours, std::uint64_t their_required) {
    Giver out;
    out.give<std::uint8_t>(1).give<std::uint8_t>(1).give(theirs);
    out.give<std::uint64_t>(7).give(their_required).give<std::uint8_t>(1).give<std::uint8_t>(2);
    out.give<std::uint8_t>(0).give(ours).give<std::uint64_t>(3).give<std::uint64_t>(1);
    out.give<std::uint8_t>(0).give<std::uint64_t>(0).give<std::uint8_t>(1).give<std::uint8_t>(2);
    return out.done();
  };
  return {{"agreed", both(2, 2, 1)}, {"no version", both(3, 2, 1)}, {"no feature", both(2, 2, 4)}};
}

}  // namespace godwit::fuzz
