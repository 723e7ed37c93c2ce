// The bytes of one direction of one channel, cut at random. A peer knows how to hash, so most
// inputs are made whole first: the fuzzer chooses fields and bodies and the hashes follow.
#include <algorithm>
#include <array>
#include <string>

#include "godwit/base/check.h"
#include "godwit/base/random.h"
#include "godwit/wire/checksum.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"

#include "check_message.h"
#include "fuzz_target.h"
#include "support/golden_frames.h"

namespace godwit::fuzz {
namespace {

using wire::FrameHeader;
using wire::kHeaderBytes;
using Buffer = std::vector<std::byte>;

enum Flag : std::uint8_t {
  kRepairHeaders = 1,
  kRepairBodies = 2,
  kAgreeVersion = 4,
  kAgreeBodyHash = 8,
  kExactSpace = 16,
};

struct Settings {
  std::uint8_t flags = 0;
  std::uint64_t cut_seed = 0;
  std::size_t read_ahead = kHeaderBytes;
  std::size_t max_body = wire::kMaxPagesBody;
};

/// Makes each header of the stream one that a sender could have made, where the flags say so.
void repair(Buffer& stream, std::uint8_t flags) {
  std::uint64_t sequence = 0;
  for (std::size_t at = 0; stream.size() - at >= kHeaderBytes;) {
    FrameHeader header;
    std::memcpy(&header, stream.data() + at, kHeaderBytes);
    const auto left = stream.size() - at - kHeaderBytes;
    header.begin = wire::kBeginMarker;
    header.sequence = sequence++;
    header.body_length = std::min(header.body_length, static_cast<std::uint32_t>(left));
    if ((flags & kRepairBodies) != 0) {
      const auto body = Bytes(stream).subspan(at + kHeaderBytes, header.body_length);
      const bool hashed = header.body_length != 0 && (header.flags & wire::kNoBodyHash) == 0;
      header.body_hash = hashed ? wire::hash64(body) : 0;
    }
    wire::seal_header(header);
    std::memcpy(stream.data() + at, &header, kHeaderBytes);
    at += kHeaderBytes + header.body_length;
  }
}

void check_frame(const wire::FrameView& frame, std::uint64_t sequence, const Settings& settings) {
  const auto& header = frame.header;
  const auto limits = wire::body_limits(header.type);
  GODWIT_CHECK(header.sequence == sequence);
  GODWIT_CHECK(frame.body.size() == header.body_length);
  GODWIT_CHECK(header.body_length >= limits.min && header.body_length <= limits.max);
  GODWIT_CHECK(header.body_length <= settings.max_body);
  GODWIT_CHECK((settings.flags & kAgreeVersion) == 0 || header.version == wire::kProtocolVersion);
  if (header.type == wire::MessageType::kPages) {
    GODWIT_CHECK(reinterpret_cast<std::uintptr_t>(frame.body.data()) % 64 == 0);
  }
  check_message(header.type, frame.body);
}

/// What came of a stream: a hash over all frames delivered, and the error that ended it.
struct Outcome {
  std::uint64_t frames = 0;
  std::uint64_t hash = 0;
  std::string error;
  std::size_t buffered = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Takes all frames that are there; false when the channel is broken.
bool drain(wire::FrameReader& reader, const Settings& settings, Outcome& outcome) {
  for (;;) {
    const auto frame = reader.next();
    if (!frame) {
      outcome.error = frame.error().message();
      const auto again = reader.next();
      GODWIT_CHECK(!again && again.error().message() == outcome.error);
      return false;
    }
    if (!*frame) {
      return true;
    }
    check_frame(**frame, outcome.frames++, settings);
    outcome.hash = outcome.hash * 31 + wire::hash64((*frame)->body);
  }
}

Outcome read(Bytes stream, const Settings& settings, bool cut) {
  wire::FrameReader reader(settings.max_body, settings.read_ahead);
  if ((settings.flags & kAgreeVersion) != 0) {
    reader.set_version(wire::kProtocolVersion);
  }
  reader.set_features((settings.flags & kAgreeBodyHash) != 0 ? wire::kFeatureBodyHash : 0);
  SplitMix64 random(settings.cut_seed);
  Outcome outcome;
  while (!stream.empty()) {
    const bool exact = (settings.flags & kExactSpace) != 0 && cut;
    const auto space = exact ? reader.exact_space() : reader.space();
    GODWIT_CHECK(!space.empty());
    auto n = std::min(space.size(), stream.size());
    n = cut ? 1 + random.below(n) : n;
    std::copy_n(stream.begin(), n, space.begin());
    reader.commit(n);
    stream = stream.subspan(n);
    if (!drain(reader, settings, outcome)) {
      GODWIT_CHECK(!reader.space().empty());
      return outcome;
    }
  }
  outcome.buffered = reader.buffered();
  return outcome;
}

Buffer input_of(std::uint8_t flags, std::uint8_t sizes, Bytes stream) {
  return Giver().give(flags).give<std::uint8_t>(7).give(sizes).give_bytes(stream).done();
}

}  // namespace

void run_frame_stream(Bytes input) {
  constexpr std::array<std::size_t, 4> kReadAheads{kHeaderBytes, 100, 4096, 1U << 18};
  constexpr std::array<std::size_t, 4> kMaxBodies{
      wire::kMaxPagesBody, wire::kMaxControlBody, 256, 0};
  Taker in(input);
  Settings settings;
  settings.flags = in.take<std::uint8_t>();
  settings.cut_seed = in.take<std::uint8_t>();
  const auto sizes = in.take<std::uint8_t>();
  settings.read_ahead = kReadAheads[sizes % kReadAheads.size()];
  settings.max_body = kMaxBodies[sizes / kReadAheads.size() % kMaxBodies.size()];
  Buffer stream(in.rest().begin(), in.rest().end());
  if ((settings.flags & kRepairHeaders) != 0) {
    repair(stream, settings.flags);
  }
  // Where the stream was cut must make no difference.
  GODWIT_CHECK(read(stream, settings, true) == read(stream, settings, false));
}

std::vector<Seed> frame_stream_seeds() {
  std::vector<Seed> seeds;
  Buffer all;
  for (const auto& frame : wire::golden_frames()) {
    if (frame.bytes.size() < 4096) {  // a page of data would only slow the fuzzer down
      all.insert(all.end(), frame.bytes.begin(), frame.bytes.end());
    }
    if (frame.name == "HELLO" || frame.name == "PAGES unhashed") {
      seeds.push_back({frame.name, input_of(kAgreeVersion, 0, frame.bytes)});
    }
  }
  constexpr std::uint8_t kRepair = kRepairHeaders | kRepairBodies;
  seeds.push_back({"session", input_of(kRepair | kAgreeVersion, 0, all)});
  seeds.push_back({"session exact", input_of(kRepair | kExactSpace, 2, all)});
  seeds.push_back({"damaged bodies", input_of(kRepairHeaders | kAgreeBodyHash, 5, all)});
  return seeds;
}

}  // namespace godwit::fuzz
