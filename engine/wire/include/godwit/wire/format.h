#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "godwit/base/units.h"

/// The protocol between source and target: what the bytes look like. docs/protocol.md is normative.
/// No thread, file descriptor or clock is used anywhere in this target.
namespace godwit::wire {

// Integers travel little-endian and structs are copied as they lie in memory.
static_assert(std::endian::native == std::endian::little, "a big-endian host needs byte swaps");

/// The newest protocol version that this library speaks.
inline constexpr std::uint16_t kProtocolVersion = 2;
/// "GDWT" read as a little-endian number.
inline constexpr std::uint32_t kBeginMarker = 0x54574447;

/// What a frame says. Numbers are never reused; 0 is invalid.
enum class MessageType : std::uint16_t {
  kHello = 1,           ///< first frame of the connecting side
  kWelcome = 2,         ///< the answer that accepts
  kRefuse = 3,          ///< the answer that does not, with a reason
  kDescribe = 4,        ///< the machine, before any page
  kAccept = 5,          ///< the target has its machine
  kPages = 6,           ///< page content
  kStale = 7,           ///< pages whose copy at the target is old
  kBarrier = 8,         ///< nothing more follows on this channel until the switch
  kBarrierAck = 9,      ///< everything before the barrier has been placed
  kFinalSync = 10,      ///< end of the stale runs of the blackout
  kState = 11,          ///< machine state
  kReady = 12,          ///< the target could run
  kCommit = 13,         ///< the source has decided
  kRunning = 14,        ///< the target runs
  kNotStarted = 15,     ///< the target never ran and never will run this epoch
  kPageRequest = 16,    ///< pages that somebody waits for
  kBackgroundEnd = 17,  ///< the background stream has sent all it had
  kComplete = 18,       ///< all pages are present; figures of the target
  kFinish = 19,         ///< the source lets go
  kCancel = 20,         ///< please stop
  kCancelAck = 21,      ///< stopped
  kAbort = 22,          ///< a side gave up with an error
  kMissing = 23,        ///< after a lost link: pages that the target does not have
  kMissingEnd = 24,     ///< end of these
};
inline constexpr std::uint16_t kMessageTypeEnd = 25;

/// "HELLO", "PAGES", ...; "?" for a number that is no type.
std::string_view message_type_name(MessageType type);

/// Frame flag: body_hash is 0 and the body is not verified. Legal on PAGES only.
inline constexpr std::uint32_t kNoBodyHash = 1U << 0;

inline constexpr std::uint64_t kFeatureBodyHash = 1;  ///< every PAGES frame carries its body hash
inline constexpr std::uint64_t kFeatureZeroRuns = 2;  ///< zero pages travel as runs without data
inline constexpr std::uint64_t kFeaturePostcopy = 4;  ///< pages can be requested after the switch
inline constexpr std::uint64_t kFeatureRecovery = 8;  ///< a link lost after READY may come back

// ----------------------------------------------------------------------------------- limits
inline constexpr std::size_t kHeaderBytes = 64;
inline constexpr std::uint32_t kMaxBatchPages = 64;  ///< pages with data in one PAGES frame
inline constexpr std::uint32_t kMaxBatchRuns = 64;
inline constexpr std::uint32_t kMaxControlBody = 1U << 20;
inline constexpr std::uint32_t kMaxStateBody = 16U << 20;
/// Pages of a region are numbered below this, so that a byte address always fits 64 bits.
inline constexpr std::uint64_t kMaxPageIndex = 1ULL << 52;

/// Frame header, 64 bytes, the same in every protocol version. Offsets are part of the protocol.
struct FrameHeader {
  std::uint32_t begin = kBeginMarker;
  std::uint16_t version = kProtocolVersion;  ///< protocol version that the body is written in
  MessageType type{};
  std::uint32_t epoch = 0;     ///< number of the handover attempt this frame belongs to
  std::uint32_t flags = 0;     ///< kNoBodyHash; other bits zero
  std::uint64_t sequence = 0;  ///< per channel and direction, from 0, no holes
  std::uint32_t body_length = 0;
  std::uint32_t reserved0 = 0;
  std::uint64_t body_hash = 0;  ///< XXH3-64 of the body; 0 for an empty body or with kNoBodyHash
  std::uint64_t reserved1[2] = {0, 0};
  std::uint64_t header_hash = 0;  ///< XXH3-64 of the 56 bytes before
};
static_assert(sizeof(FrameHeader) == kHeaderBytes);
static_assert(std::has_unique_object_representations_v<FrameHeader>, "no hidden padding");
static_assert(offsetof(FrameHeader, version) == 4 && offsetof(FrameHeader, type) == 6);
static_assert(offsetof(FrameHeader, epoch) == 8 && offsetof(FrameHeader, flags) == 12);
static_assert(offsetof(FrameHeader, sequence) == 16 && offsetof(FrameHeader, body_length) == 24);
static_assert(offsetof(FrameHeader, body_hash) == 32 && offsetof(FrameHeader, reserved1) == 40);
static_assert(offsetof(FrameHeader, header_hash) == 56);

/// Which side a HELLO comes from.
enum class Role : std::uint8_t { kSource = 1, kTarget = 2 };
/// What a connection carries: the conversation, pages, or pages that somebody waits for.
enum class ChannelKind : std::uint8_t { kControl = 1, kBulk = 2, kUrgent = 3 };

/// When a page was sent; the report tells them apart.
enum class PagePhase : std::uint8_t { kPrecopy = 1, kUrgent = 2, kBackground = 3 };
/// Whether bytes follow for the pages of a run.
enum class PageKind : std::uint8_t { kData = 1, kZero = 2 };

/// First bytes of a PAGES body; `run_count` PageBatchRunWire follow, zeros up to a multiple of 64,
/// then the page data.
struct PageBatchHeader {
  std::uint32_t region = 0;
  PagePhase phase{};
  std::uint8_t reserved[3] = {0, 0, 0};
  std::uint32_t run_count = 0;   ///< 1 .. kMaxBatchRuns
  std::uint32_t data_pages = 0;  ///< sum of `count` over the kData runs, at most kMaxBatchPages
};
static_assert(sizeof(PageBatchHeader) == 16);
static_assert(std::has_unique_object_representations_v<PageBatchHeader>);
static_assert(offsetof(PageBatchHeader, phase) == 4 && offsetof(PageBatchHeader, run_count) == 8);

/// One run of a PAGES body.
struct PageBatchRunWire {
  std::uint64_t first = 0;
  std::uint32_t count = 0;
  PageKind kind{};
  std::uint8_t reserved[3] = {0, 0, 0};
};
static_assert(sizeof(PageBatchRunWire) == 16);
static_assert(std::has_unique_object_representations_v<PageBatchRunWire>);
static_assert(offsetof(PageBatchRunWire, count) == 8 && offsetof(PageBatchRunWire, kind) == 12);

/// Length of a PAGES body before its data: what `runs` runs take, rounded up to 64 so that the data
/// is aligned.
constexpr std::size_t page_prefix_bytes(std::size_t runs) {
  return (sizeof(PageBatchHeader) + runs * sizeof(PageBatchRunWire) + 63) / 64 * 64;
}
inline constexpr std::size_t kMinPagePrefix = page_prefix_bytes(1);
inline constexpr std::size_t kMaxPagePrefix = page_prefix_bytes(kMaxBatchRuns);
inline constexpr std::uint32_t kMaxPagesBody =
    static_cast<std::uint32_t>(kMaxPagePrefix + kMaxBatchPages * kPageBytes);

/// The bounds of a type's body; a header outside them is refused before anything is allocated or
/// received.
struct BodyLimits {
  std::uint32_t min = 0;
  std::uint32_t max = 0;
};
/// {0, 0} for a number that is no type.
BodyLimits body_limits(MessageType type);

/// Pages of one chunk (2 MiB) travel on one bulk channel before the switch, so that copies of a page
/// and announcements that they are stale are ordered by their connection.
inline constexpr std::uint64_t kChunkPages = 512;
[[nodiscard]] constexpr std::uint32_t channel_of(PageId page, std::uint32_t channels) {
  return static_cast<std::uint32_t>((page.region + page.index / kChunkPages) % channels);
}

}  // namespace godwit::wire
