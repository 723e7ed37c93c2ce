#include "godwit/wire/frame_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "godwit/base/random.h"
#include "godwit/wire/checksum.h"
#include "godwit/wire/codec.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/page_batch.h"

namespace godwit::wire {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

void append(Bytes& to, const Bytes& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Bytes pages_body(std::uint64_t first, std::uint32_t count, std::uint8_t fill) {
  const PageBatchRun runs[] = {{first, count, PageKind::kData}};
  Bytes body(kMaxPagePrefix);
  body.resize(encode_page_prefix(body, 0, PagePhase::kPrecopy, runs));
  body.resize(body.size() + count * kPageBytes, static_cast<std::byte>(fill));
  return body;
}

/// Gives the reader as much of `bytes` as it takes at once.
std::size_t feed(FrameReader& reader, std::span<const std::byte> bytes) {
  const auto space = reader.space();
  const std::size_t n = std::min(space.size(), bytes.size());
  std::copy_n(bytes.begin(), n, space.begin());
  reader.commit(n);
  return n;
}

/// Feeds all of `bytes` and returns the first error, or one with an empty operation when every
/// frame passed.
Error first_error(FrameReader& reader, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    bytes = bytes.subspan(feed(reader, bytes));
    for (;;) {
      const auto frame = reader.next();
      if (!frame) {
        return frame.error();
      }
      if (!*frame) {
        break;
      }
    }
  }
  return {};
}

TEST(FrameReader, DeliversWhatWasWrittenHoweverItArrives) {
  constexpr std::uint64_t kSeed = 7;
  SplitMix64 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " round " << round);
    FrameWriter writer;
    std::vector<Bytes> bodies;
    Bytes stream;
    for (int i = 0; i < 20; ++i) {
      const auto pick = random.below(4);
      const auto type = pick == 0   ? MessageType::kPages
                        : pick == 1 ? MessageType::kReady
                        : pick == 2 ? MessageType::kCancel
                                    : MessageType::kBarrier;
      Bytes body;
      if (pick == 0) {
        body =
            pages_body(random.below(1000), 1 + static_cast<std::uint32_t>(random.below(5)), 0x77);
      } else if (pick == 2) {
        body = encode(Cancel{std::string(random.below(300), 'c')});
      } else if (pick == 3) {
        body = encode(Barrier{random.next()});
      }
      append(stream, writer.frame(type, body));
      bodies.push_back(body);
    }
    FrameReader reader(kMaxPagesBody, 64 + random.below(9000));
    std::size_t delivered = 0;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t n = std::min<std::size_t>(stream.size() - at, 1 + random.below(6000));
      at += feed(reader, std::span<const std::byte>(stream).subspan(at, n));
      for (;;) {
        const auto frame = reader.next();
        ASSERT_TRUE(frame.has_value()) << frame.error().message();
        if (!*frame) {
          break;
        }
        ASSERT_LT(delivered, bodies.size());
        ASSERT_THAT((**frame).body, testing::ElementsAreArray(bodies[delivered]));
        if ((**frame).header.type == MessageType::kPages) {
          const auto batch = decode_page_batch((**frame).body);
          ASSERT_TRUE(batch.has_value());
          ASSERT_EQ(reinterpret_cast<std::uintptr_t>(batch->data(0)) % 64, 0U);
        }
        ++delivered;
      }
    }
    EXPECT_EQ(delivered, bodies.size());
    EXPECT_EQ(reader.buffered(), 0U);
  }
}

TEST(FrameReader, SmallFramesArriveInOneReceive) {
  FrameWriter writer;
  FrameReader reader(1 << 20, 4096);
  Bytes stream;
  for (int i = 0; i < 10; ++i) {
    append(stream, writer.frame(MessageType::kBarrier, encode(Barrier{1})));
  }
  ASSERT_EQ(reader.space().size(), 4096U);
  ASSERT_EQ(feed(reader, stream), stream.size());
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(reader.next()->has_value());
  }
  EXPECT_FALSE(reader.next()->has_value());
}

TEST(FrameReader, ALargeBodyIsReceivedWhereItStays) {
  FrameWriter writer;
  FrameReader reader(kMaxPagesBody, kHeaderBytes);
  const auto stream = writer.frame(MessageType::kPages, pages_body(512, 64, 1));
  ASSERT_EQ(reader.space().size(), kHeaderBytes);
  ASSERT_EQ(feed(reader, stream), kHeaderBytes);
  ASSERT_FALSE(reader.next()->has_value());
  const auto space = reader.space();
  ASSERT_EQ(space.size(), stream.size() - kHeaderBytes);
  ASSERT_EQ(feed(reader, std::span<const std::byte>(stream).subspan(kHeaderBytes)), space.size());
  const auto frame = reader.next();
  ASSERT_TRUE(frame->has_value());
  EXPECT_EQ((**frame).body.data(), space.data());
}

/// A reader as a bulk channel of the target has it.
constexpr std::size_t kPlacingReadAhead = kHeaderBytes + kMinPagePrefix;

TEST(FrameReader, DataOfASingleRunIsReceivedWhereItBelongs) {
  FrameWriter writer;
  Bytes memory(100 * kPageBytes);
  FrameReader reader(kMaxPagesBody, kPlacingReadAhead);
  int asked = 0;
  reader.set_places([&](std::span<const std::byte> prefix) -> std::span<std::byte> {
    ++asked;
    const auto frame = single_run_of(prefix);
    return frame ? std::span(memory).subspan(frame->run.first * kPageBytes,
                                             frame->run.count * kPageBytes)
                 : std::span<std::byte>();
  });
  const auto body = pages_body(7, 64, 0x5a);
  auto stream = writer.frame(MessageType::kPages, body);
  append(stream, writer.frame(MessageType::kBarrier, encode(Barrier{1})));
  append(stream, writer.frame(MessageType::kPages, pages_body(80, 2, 0x33)));
  std::vector<MessageType> seen;
  // A byte at a time, so that every border inside a frame is one between two receives too.
  for (std::size_t at = 0; at < stream.size();) {
    const auto step = at % 4096 < 200 ? 1UL : 997UL;
    at += feed(reader,
               std::span<const std::byte>(stream).subspan(at, std::min(step, stream.size() - at)));
    const auto frame = reader.next();
    ASSERT_TRUE(frame) << frame.error().message();
    if (!*frame) {
      continue;
    }
    seen.push_back((**frame).header.type);
    if ((**frame).header.type != MessageType::kPages) {
      continue;
    }
    const auto batch = decode_page_batch((**frame).body, (**frame).placed);
    ASSERT_TRUE(batch) << batch.error().message();
    EXPECT_EQ(batch->data(0), &memory[batch->runs()[0].first * kPageBytes]);
  }
  EXPECT_EQ(seen,
            (std::vector{MessageType::kPages, MessageType::kBarrier, MessageType::kPages}));
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(std::count(memory.begin(), memory.end(), std::byte{0x5a}), 64 * kPageBytes);
  EXPECT_EQ(std::count(memory.begin(), memory.end(), std::byte{0x33}), 2 * kPageBytes);
}

TEST(FrameReader, DamageOfPlacedDataIsFoundAndNamed) {
  FrameWriter writer;
  auto stream = writer.frame(MessageType::kPages, pages_body(512, 64, 1));
  for (const auto at : {std::size_t{kHeaderBytes + 3}, stream.size() - 5000}) {
    auto damaged = stream;
    damaged[at] ^= std::byte{0x10};
    Bytes memory(64 * kPageBytes);
    FrameReader reader(kMaxPagesBody, kPlacingReadAhead);
    reader.set_places([&](std::span<const std::byte>) { return std::span(memory); });
    const auto error = first_error(reader, damaged);
    EXPECT_EQ(error.code, ErrorCode::kChecksum) << at;
    EXPECT_THAT(error.message(), HasSubstr("pages")) << at;
  }
}

TEST(FrameReader, APlaceOfAnotherSizeIsNoPlace) {
  FrameWriter writer;
  Bytes memory(64 * kPageBytes);
  FrameReader reader(kMaxPagesBody, kPlacingReadAhead);
  reader.set_places([&](std::span<const std::byte>) { return std::span(memory).first(4096); });
  const auto stream = writer.frame(MessageType::kPages, pages_body(512, 64, 1));
  EXPECT_STREQ(first_error(reader, stream).operation, "");
  EXPECT_EQ(std::count(memory.begin(), memory.end(), std::byte{1}), 0);
}

TEST(SingleRun, IsOneRunOfDataAndNothingElse) {
  const auto prefix_of = [](std::span<const PageBatchRun> runs) {
    Bytes prefix(kMaxPagePrefix);
    prefix.resize(encode_page_prefix(prefix, 3, PagePhase::kBackground, runs));
    return prefix;
  };
  const PageBatchRun data{5, 9, PageKind::kData};
  const PageBatchRun zero{20, 9, PageKind::kZero};
  const auto found = single_run_of(prefix_of(std::array{data}));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->region, 3U);
  EXPECT_EQ(found->phase, PagePhase::kBackground);
  EXPECT_EQ(found->run, data);
  EXPECT_FALSE(single_run_of(prefix_of(std::array{zero})));
  EXPECT_FALSE(single_run_of(prefix_of(std::array{data, zero})));
  EXPECT_FALSE(single_run_of(std::span<const std::byte>()));
  auto damaged = prefix_of(std::array{data});
  damaged[12] ^= std::byte{1};  // data_pages
  EXPECT_FALSE(single_run_of(damaged));
}

TEST(FrameReader, ExactSpaceNeverAsksForMoreThanTheFrame) {
  FrameWriter writer;
  FrameReader reader(1 << 20, 8192);
  const auto stream = writer.frame(MessageType::kBarrier, encode(Barrier{1}));
  ASSERT_EQ(reader.exact_space().size(), kHeaderBytes);
  std::copy_n(stream.begin(), kHeaderBytes, reader.exact_space().begin());
  reader.commit(kHeaderBytes);
  ASSERT_FALSE(reader.next()->has_value());
  ASSERT_EQ(reader.exact_space().size(), 8U);
  std::copy_n(stream.begin() + kHeaderBytes, 8, reader.exact_space().begin());
  reader.commit(8);
  EXPECT_TRUE(reader.next()->has_value());
}

TEST(FrameReader, DamagedPagesAreNamed) {
  FrameWriter writer;
  FrameReader reader(kMaxPagesBody, kHeaderBytes);
  auto stream = writer.frame(MessageType::kPages, pages_body(512, 64, 1));
  stream[stream.size() - 5000] ^= std::byte{0x10};
  const auto error = first_error(reader, stream);
  EXPECT_EQ(error.code, ErrorCode::kChecksum);
  EXPECT_THAT(error.message(), HasSubstr("region 0 pages 512-575"));
}

TEST(FrameReader, SeparateRunsOfADamagedFrameAreListed) {
  const PageBatchRun runs[] = {{10, 2, PageKind::kZero},
                               {12, 2, PageKind::kZero},
                               {20, 1, PageKind::kZero},
                               {30, 1, PageKind::kZero},
                               {40, 1, PageKind::kZero},
                               {50, 1, PageKind::kZero}};
  Bytes body(kMaxPagePrefix);
  body.resize(encode_page_prefix(body, 2, PagePhase::kPrecopy, runs));
  FrameWriter writer;
  const auto header =
      writer.header_for(MessageType::kPages, static_cast<std::uint32_t>(body.size()), 1);
  EXPECT_THAT(verify_body(header, body).error().message(),
              HasSubstr("region 2 pages 10-13, 20, 30, 40 and more"));
  body[0] ^= std::byte{1};
  body[5] ^= std::byte{1};
  EXPECT_THAT(verify_body(header, body).error().message(), HasSubstr("pages unknown (reserved"));
}

TEST(FrameReader, UnhashedPagesPassUnlessTheHashWasAgreed) {
  FrameWriter writer;
  FrameReader reader(kMaxPagesBody, kHeaderBytes);
  const auto stream = writer.frame(MessageType::kPages, pages_body(1, 1, 1), kNoBodyHash);
  EXPECT_STREQ(first_error(reader, stream).operation, "");
  FrameReader strict(kMaxPagesBody, kHeaderBytes);
  strict.set_features(kFeatureBodyHash);
  EXPECT_THAT(first_error(strict, stream).message(), HasSubstr("without the agreed body hash"));
}

TEST(FrameReader, ALostARepeatedAndAReorderedFrameAreErrors) {
  FrameWriter writer;
  const auto first = writer.frame(MessageType::kReady, {});
  const auto second = writer.frame(MessageType::kCommit, {});
  FrameReader lost(64, 64);
  EXPECT_THAT(first_error(lost, second).message(), HasSubstr("sequence number 1, expected was 0"));
  FrameReader repeated(64, 64);
  Bytes twice = first;
  append(twice, first);
  EXPECT_THAT(first_error(repeated, twice).message(),
              HasSubstr("sequence number 0, expected was 1"));
  FrameReader late(64, 64);
  late.expect_sequence(1);
  EXPECT_STREQ(first_error(late, second).operation, "");
}

TEST(FrameReader, OnlyTheAgreedVersionPasses) {
  FrameWriter writer;
  writer.set_version(2);
  Bytes stream = writer.frame(MessageType::kReady, {});
  FrameReader reader(64, 64);
  EXPECT_STREQ(first_error(reader, stream).operation, "") << "nothing agreed yet";
  reader.set_version(1);
  const auto error = first_error(reader, writer.frame(MessageType::kReady, {}));
  EXPECT_EQ(error.code, ErrorCode::kVersion);
}

TEST(FrameReader, ABodyOverTheChannelsLimitEndsAtItsHeader) {
  FrameWriter writer;
  FrameReader reader(100, 64);
  const auto error = first_error(
      reader, writer.frame(MessageType::kCancel, encode(Cancel{std::string(200, 'x')})));
  EXPECT_EQ(error.code, ErrorCode::kProtocol);
  EXPECT_THAT(error.message(), HasSubstr("over this channel's 100"));
}

TEST(FrameReader, AnErrorStaysAndSwallowsWhatFollows) {
  FrameWriter writer;
  FrameReader reader(1000, 256);
  auto stream = writer.frame(MessageType::kReady, {});
  stream[0] = std::byte{0};
  EXPECT_EQ(first_error(reader, stream).code, ErrorCode::kProtocol);
  for (int i = 0; i < 100; ++i) {
    FrameWriter fresh;
    ASSERT_FALSE(reader.space().empty());
    EXPECT_EQ(first_error(reader, fresh.frame(MessageType::kReady, {})).code, ErrorCode::kProtocol);
  }
}

}  // namespace
}  // namespace godwit::wire
