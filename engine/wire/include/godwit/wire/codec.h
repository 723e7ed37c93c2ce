#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "godwit/base/error.h"
#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/wire/format.h"
#include "godwit/wire/section.h"

/// One struct a message, `encode` to its body and `decode_x` back. A decoder accepts exactly the
/// bytes that an encoder can make: leftovers, unknown enum values, non-zero reserved bytes and
/// counts over their cap are kProtocol errors that name the message, the field and the reason.
/// Counts are checked against the bytes that are there before anything is allocated. Thread: any;
/// nothing here keeps state.
namespace godwit::wire {

inline constexpr std::size_t kMaxVersions = 16;
inline constexpr std::size_t kMaxTextBytes = 4096;
inline constexpr std::size_t kMaxNameBytes = 64;  ///< kind, placement, section names
inline constexpr std::size_t kMaxRegions = 64;
inline constexpr std::uint32_t kMaxBulkChannels = 64;
inline constexpr std::size_t kMaxSections = 1024;
inline constexpr std::size_t kMaxStaleRuns = 32768;
inline constexpr std::size_t kMaxRequestPages = 256;
inline constexpr std::uint32_t kMaxFaultBuckets = 1024;
/// Of the figures in COMPLETE: another version means other fields.
inline constexpr std::uint16_t kFiguresVersion = 1;

using SessionId = std::array<std::byte, 16>;

/// First frame of a connection. Its body never changes between protocol versions.
struct Hello {
  std::vector<std::uint16_t> versions_offered;  ///< 1 .. kMaxVersions, none 0, none twice
  std::uint64_t features_offered = 0;
  std::uint64_t features_required = 0;  ///< a subset of those offered
  SessionId session_id{};               ///< zero on the first connection: the target issues it
  Role role = Role::kSource;
  ChannelKind channel_kind = ChannelKind::kControl;
  std::uint16_t channel_index = 0;
  std::uint32_t session_epoch = 0;
  friend bool operator==(const Hello&, const Hello&) = default;
};

struct Welcome {
  std::uint16_t version = 0;
  std::uint64_t features = 0;  ///< in force from the next frame on
  SessionId session_id{};
  std::uint32_t session_epoch = 0;
  friend bool operator==(const Welcome&, const Welcome&) = default;
};

/// Its body never changes between protocol versions. A code that this build does not know decodes
/// as kRefused.
struct Refuse {
  ErrorCode code = ErrorCode::kRefused;
  std::uint16_t phase = 0;
  std::string text;
  friend bool operator==(const Refuse&, const Refuse&) = default;
};

struct RegionInfo {
  std::uint64_t gpa = 0;         ///< a multiple of 4096
  std::uint64_t page_count = 0;  ///< at least 1
  friend bool operator==(const RegionInfo&, const RegionInfo&) = default;
};

struct Describe {
  bool prealloc = false;
  bool postcopy_possible = true;   ///< pages may come after the switch
  std::uint8_t bulk_channels = 1;  ///< 1 .. kMaxBulkChannels; with indices from 0
  std::uint32_t vcpus = 0;
  std::string kind;                 ///< "kvm" or "process"
  std::vector<RegionInfo> regions;  ///< 1 .. kMaxRegions
  std::vector<Section> config;
  friend bool operator==(const Describe&, const Describe&) = default;
};

struct Accept {
  std::uint64_t prealloc_ns = 0;
  bool placing_maps =
      false;  ///< a placed page is in the guest's page table: old ones cost an unmapping
  std::string placement;
  friend bool operator==(const Accept&, const Accept&) = default;
};

struct Stale {
  std::vector<PageRun> runs;  ///< at most kMaxStaleRuns, each non-empty
  friend bool operator==(const Stale&, const Stale&) = default;
};

struct Barrier {
  std::uint64_t id = 0;
  friend bool operator==(const Barrier&, const Barrier&) = default;
};

struct BarrierAck {
  std::uint64_t id = 0;
  friend bool operator==(const BarrierAck&, const BarrierAck&) = default;
};

struct FinalSync {
  std::uint64_t pending_pages = 0;
  std::uint64_t pending_hash = 0;
  friend bool operator==(const FinalSync&, const FinalSync&) = default;
};

struct State {
  std::vector<Section> sections;
  friend bool operator==(const State&, const State&) = default;
};

struct Ready {
  friend bool operator==(const Ready&, const Ready&) = default;
};

struct Commit {
  friend bool operator==(const Commit&, const Commit&) = default;
};

struct Running {
  std::uint64_t load_ns = 0;
  std::uint64_t resume_ns = 0;
  friend bool operator==(const Running&, const Running&) = default;
};

struct NotStarted {
  ErrorCode code = ErrorCode::kRefused;
  std::string text;
  friend bool operator==(const NotStarted&, const NotStarted&) = default;
};

struct PageRequest {
  std::vector<PageId> pages;  ///< 1 .. kMaxRequestPages
  friend bool operator==(const PageRequest&, const PageRequest&) = default;
};

struct BackgroundEnd {
  friend bool operator==(const BackgroundEnd&, const BackgroundEnd&) = default;
};

/// Samples of one bucket of a histogram; what its number stands for is base/histogram.h's.
struct Bucket {
  std::uint32_t number = 0;  ///< below kMaxFaultBuckets
  std::uint64_t count = 0;   ///< at least 1
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

/// All pages are present; with the target's figures for the source's report. Moments are of the
/// target's CLOCK_MONOTONIC.
struct Complete {
  bool scheduling_degraded = false;       ///< some thread runs without its role's scheduling
  std::uint64_t installed = 0;            ///< pages, after the switch
  std::uint64_t retracted = 0;            ///< pages unmapped again since they became old
  std::uint64_t retracted_at_switch = 0;  ///< of these, behind the barrier
  std::uint64_t cpu_ns = 0;               ///< of the process
  std::uint64_t first_run_ns = 0;         ///< moment of the first guest instruction
  std::uint64_t run_ended_ns = 0;         ///< moment at which the vCPUs had been told to run
  std::uint64_t fault_max_ns = 0;         ///< the longest fault
  std::string boot_id;                    ///< of the kernel, at most kMaxNameBytes
  std::vector<Bucket> fault_buckets;      ///< ascending, at most kMaxFaultBuckets
  friend bool operator==(const Complete&, const Complete&) = default;
};

struct Finish {
  friend bool operator==(const Finish&, const Finish&) = default;
};

struct Cancel {
  std::string text;
  friend bool operator==(const Cancel&, const Cancel&) = default;
};

struct CancelAck {
  friend bool operator==(const CancelAck&, const CancelAck&) = default;
};

struct Abort {
  ErrorCode code = ErrorCode::kInternal;
  std::uint16_t phase = 0;
  std::string text;
  friend bool operator==(const Abort&, const Abort&) = default;
};

/// Pages that are absent at the target, in ascending order of region and page.
struct Missing {
  std::vector<PageRun> runs;  ///< at most kMaxStaleRuns, each non-empty
  friend bool operator==(const Missing&, const Missing&) = default;
};

/// All of them, as FINAL_SYNC counts and hashes.
struct MissingEnd {
  std::uint64_t pages = 0;
  std::uint64_t hash = 0;
  friend bool operator==(const MissingEnd&, const MissingEnd&) = default;
};

/// Whether a description or state that came from the machine can travel. Call it before encode(),
/// while the guest still runs where possible: encode() ends the process on values that cannot.
/// Errors: kInvalidArgument with the field and its limit.
[[nodiscard]] Status validate(const Describe& message);
[[nodiscard]] Status validate(const State& message);

/// The body of a message. Texts are made printable and cut to kMaxTextBytes; all other limits are
/// the caller's duty. Requires: the limits noted at the fields hold (validate() for Describe and
/// State).
[[nodiscard]] std::vector<std::byte> encode(const Hello& message);
[[nodiscard]] std::vector<std::byte> encode(const Welcome& message);
[[nodiscard]] std::vector<std::byte> encode(const Refuse& message);
[[nodiscard]] std::vector<std::byte> encode(const Describe& message);
[[nodiscard]] std::vector<std::byte> encode(const Accept& message);
[[nodiscard]] std::vector<std::byte> encode(const Stale& message);
[[nodiscard]] std::vector<std::byte> encode(const Barrier& message);
[[nodiscard]] std::vector<std::byte> encode(const BarrierAck& message);
[[nodiscard]] std::vector<std::byte> encode(const FinalSync& message);
[[nodiscard]] std::vector<std::byte> encode(const State& message);
[[nodiscard]] std::vector<std::byte> encode(const Ready& message);
[[nodiscard]] std::vector<std::byte> encode(const Commit& message);
[[nodiscard]] std::vector<std::byte> encode(const Running& message);
[[nodiscard]] std::vector<std::byte> encode(const NotStarted& message);
[[nodiscard]] std::vector<std::byte> encode(const PageRequest& message);
[[nodiscard]] std::vector<std::byte> encode(const BackgroundEnd& message);
[[nodiscard]] std::vector<std::byte> encode(const Complete& message);
[[nodiscard]] std::vector<std::byte> encode(const Finish& message);
[[nodiscard]] std::vector<std::byte> encode(const Cancel& message);
[[nodiscard]] std::vector<std::byte> encode(const CancelAck& message);
[[nodiscard]] std::vector<std::byte> encode(const Abort& message);
[[nodiscard]] std::vector<std::byte> encode(const Missing& message);
[[nodiscard]] std::vector<std::byte> encode(const MissingEnd& message);

/// Errors: kProtocol; kChecksum when a section's own hash does not match.
[[nodiscard]] Result<Hello> decode_hello(std::span<const std::byte> body);
[[nodiscard]] Result<Welcome> decode_welcome(std::span<const std::byte> body);
[[nodiscard]] Result<Refuse> decode_refuse(std::span<const std::byte> body);
[[nodiscard]] Result<Describe> decode_describe(std::span<const std::byte> body);
[[nodiscard]] Result<Accept> decode_accept(std::span<const std::byte> body);
[[nodiscard]] Result<Stale> decode_stale(std::span<const std::byte> body);
[[nodiscard]] Result<Barrier> decode_barrier(std::span<const std::byte> body);
[[nodiscard]] Result<BarrierAck> decode_barrier_ack(std::span<const std::byte> body);
[[nodiscard]] Result<FinalSync> decode_final_sync(std::span<const std::byte> body);
[[nodiscard]] Result<State> decode_state(std::span<const std::byte> body);
[[nodiscard]] Result<Ready> decode_ready(std::span<const std::byte> body);
[[nodiscard]] Result<Commit> decode_commit(std::span<const std::byte> body);
[[nodiscard]] Result<Running> decode_running(std::span<const std::byte> body);
[[nodiscard]] Result<NotStarted> decode_not_started(std::span<const std::byte> body);
[[nodiscard]] Result<PageRequest> decode_page_request(std::span<const std::byte> body);
[[nodiscard]] Result<BackgroundEnd> decode_background_end(std::span<const std::byte> body);
[[nodiscard]] Result<Complete> decode_complete(std::span<const std::byte> body);
[[nodiscard]] Result<Finish> decode_finish(std::span<const std::byte> body);
[[nodiscard]] Result<Cancel> decode_cancel(std::span<const std::byte> body);
[[nodiscard]] Result<CancelAck> decode_cancel_ack(std::span<const std::byte> body);
[[nodiscard]] Result<Abort> decode_abort(std::span<const std::byte> body);
[[nodiscard]] Result<Missing> decode_missing(std::span<const std::byte> body);
[[nodiscard]] Result<MissingEnd> decode_missing_end(std::span<const std::byte> body);

}  // namespace godwit::wire
