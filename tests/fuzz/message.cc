// The body of any message, as a peer that computes its hashes right can send it.
#include <algorithm>

#include "godwit/base/check.h"

#include "check_message.h"
#include "fuzz_target.h"
#include "support/golden_frames.h"

namespace godwit::fuzz {

void check_message(wire::MessageType type, Bytes body) {
  const auto again = wire::reencode(type, body);
  if (!again) {
    GODWIT_CHECK(!again.error().message().empty());
    return;
  }
  GODWIT_CHECK(again->size() == body.size());
  // An unknown error code is the one value that is understood without being ours.
  const bool coded = type == wire::MessageType::kRefuse || type == wire::MessageType::kAbort ||
                     type == wire::MessageType::kNotStarted;
  const std::size_t skip = coded ? 2 : 0;
  GODWIT_CHECK(std::ranges::equal(Bytes(*again).subspan(skip), body.subspan(skip)));
}

void run_message(Bytes input) {
  Taker in(input);
  const auto type = static_cast<wire::MessageType>(in.take<std::uint8_t>());
  check_message(type, in.rest());
}

std::vector<Seed> message_seeds() {
  std::vector<Seed> seeds;
  for (const auto& frame : wire::golden_frames()) {
    if (frame.type == wire::MessageType::kPages) {
      continue;  // has a target of its own
    }
    const auto body = Bytes(frame.bytes).subspan(wire::kHeaderBytes);
    const auto type = static_cast<std::uint8_t>(frame.type);
    seeds.push_back({frame.name, Giver().give(type).give_bytes(body).done()});
  }
  return seeds;
}

}  // namespace godwit::fuzz
