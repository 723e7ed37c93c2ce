// What a hostile or broken link may deliver: every frame is changed in every way below, and nothing
// changed may pass.
#include <algorithm>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/random.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"

#include "support/golden_frames.h"

namespace godwit::wire {
namespace {

using Bytes = std::vector<std::byte>;

/// True when the bytes are delivered as a frame.
bool accepted(FrameReader& reader, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto space = reader.space();
    const std::size_t n = std::min(space.size(), bytes.size());
    std::copy_n(bytes.begin(), n, space.begin());
    reader.commit(n);
    bytes = bytes.subspan(n);
    const auto frame = reader.next();
    if (!frame) {
      return false;
    }
    if (*frame) {
      return true;
    }
  }
  return false;
}

bool accepted(std::span<const std::byte> bytes) {
  FrameReader reader(kMaxPagesBody, kHeaderBytes);
  return accepted(reader, bytes);
}

TEST(Mutation, EverySingleBitFlipIsRejected) {
  for (auto frame : golden_frames()) {
    SCOPED_TRACE(frame.name);
    ASSERT_TRUE(accepted(frame.bytes));
    // Without a body hash only the header is protected.
    const std::size_t covered = frame.name == "PAGES unhashed" ? kHeaderBytes : frame.bytes.size();
    for (std::size_t bit = 0; bit < covered * 8; ++bit) {
      const auto mask = static_cast<std::byte>(1U << (bit % 8));
      frame.bytes[bit / 8] ^= mask;
      ASSERT_FALSE(accepted(frame.bytes)) << "bit " << bit;
      frame.bytes[bit / 8] ^= mask;
    }
  }
}

TEST(Mutation, EveryTruncationDeliversNothing) {
  for (const auto& frame : golden_frames()) {
    SCOPED_TRACE(frame.name);
    for (std::size_t size = 0; size < frame.bytes.size(); ++size) {
      ASSERT_FALSE(accepted(std::span<const std::byte>(frame.bytes).first(size))) << size;
    }
  }
}

TEST(Mutation, SeveralRandomChangesAreRejected) {
  constexpr std::uint64_t kSeed = 2024;
  SplitMix64 random(kSeed);
  const auto frames = golden_frames();
  for (int round = 0; round < 20000; ++round) {
    const auto& frame = frames[random.below(frames.size())];
    auto bytes = frame.bytes;
    const std::size_t covered = frame.name == "PAGES unhashed" ? kHeaderBytes : bytes.size();
    for (std::uint64_t changes = 1 + random.below(8); changes > 0; --changes) {
      bytes[random.below(covered)] = static_cast<std::byte>(random.next());
    }
    if (bytes != frame.bytes) {
      ASSERT_FALSE(accepted(bytes)) << frame.name << ", seed " << kSeed << " round " << round;
    }
  }
}

// A peer that computes its hashes right reaches the decoders with any body it likes. They must end,
// read nothing outside the body (a sanitizer would see it) and accept only what an encoder could
// have made.
TEST(Mutation, DecodersAcceptOnlyWhatTheyWouldEncode) {
  constexpr std::uint64_t kSeed = 99;
  SplitMix64 random(kSeed);
  const auto frames = golden_frames();
  std::size_t passed = 0;
  for (int round = 0; round < 60000; ++round) {
    const auto& frame = frames[random.below(frames.size())];
    Bytes body(frame.bytes.begin() + kHeaderBytes, frame.bytes.end());
    for (std::uint64_t changes = random.below(4); changes > 0 && !body.empty(); --changes) {
      // Most meaning sits in front: counts, kinds, flags.
      const std::size_t at =
          random.below(std::min<std::size_t>(body.size(), 1 + random.below(body.size())));
      switch (random.below(4)) {
        case 0:
          body[at] ^= static_cast<std::byte>(1U << random.below(8));
          break;
        case 1:
          body[at] = static_cast<std::byte>(random.below(4));
          break;
        case 2:
          body.erase(body.begin() + static_cast<std::ptrdiff_t>(at));
          break;
        default:
          body.insert(body.begin() + static_cast<std::ptrdiff_t>(at),
                      static_cast<std::byte>(random.next()));
      }
    }
    const auto again = reencode(frame.type, body);
    if (again) {
      ++passed;
      // An unknown error code is the one value that is understood without being ours.
      const bool coded = frame.type == MessageType::kRefuse || frame.type == MessageType::kAbort ||
                         frame.type == MessageType::kNotStarted;
      const std::ptrdiff_t skip = coded ? 2 : 0;
      ASSERT_TRUE(std::equal(again->begin() + skip, again->end(), body.begin() + skip, body.end()))
          << frame.name << ", seed " << kSeed << " round " << round;
    }
  }
  EXPECT_GT(passed, 10000U) << "too few bodies got through to mean anything";
}

TEST(Mutation, RandomBytesNeverPassTheReaderOrHangADecoder) {
  constexpr std::uint64_t kSeed = 4711;
  SplitMix64 random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes(random.below(400));
    const bool small = random.below(2) == 0;
    for (auto& byte : bytes) {
      byte = static_cast<std::byte>(small ? random.below(3) : random.next());
    }
    for (std::uint16_t number = 1; number < kMessageTypeEnd; ++number) {
      (void)reencode(static_cast<MessageType>(number), bytes);
    }
    if (round % 20 == 0) {
      ASSERT_FALSE(accepted(bytes)) << "seed " << kSeed << " round " << round;
    }
  }
}

// The header's hash is no secret: the limits behind it must hold alone.
TEST(Mutation, ResealedRandomHeadersKeepTheirLimits) {
  constexpr std::uint64_t kSeed = 5;
  SplitMix64 random(kSeed);
  std::size_t passed = 0;
  for (int round = 0; round < 200000; ++round) {
    FrameHeader header;
    header.version = static_cast<std::uint16_t>(random.below(3));
    header.type = static_cast<MessageType>(random.below(kMessageTypeEnd + 2U));
    header.flags = static_cast<std::uint32_t>(random.below(3));
    header.body_length = static_cast<std::uint32_t>(random.next() >> (32 + random.below(32)));
    header.body_hash = random.below(2);
    header.reserved0 = random.below(8) == 0 ? 1 : 0;
    header.reserved1[random.below(2)] = random.below(8) == 0 ? 1 : 0;
    seal_header(header);
    const auto parsed = parse_header(header_bytes(header));
    if (parsed) {
      ++passed;
      ASSERT_LE(parsed->body_length, body_limits(parsed->type).max);
      ASSERT_GE(parsed->body_length, body_limits(parsed->type).min);
      ASSERT_EQ(parsed->reserved0 + parsed->reserved1[0] + parsed->reserved1[1], 0U);
      ASSERT_TRUE(parsed->flags == 0 || parsed->type == MessageType::kPages);
      ASSERT_NE(parsed->version, 0);
    }
  }
  EXPECT_GT(passed, 1000U);
}

}  // namespace
}  // namespace godwit::wire
