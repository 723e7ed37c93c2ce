#pragma once

#include <chrono>
#include <cstdint>

// How long the command waits for what, and how often it looks. Those of the migration itself are the
// engine's, those of sockets are net's.

namespace godwit::app {

// ------------------------------------------------------------------------------- control sockets

/// For the answer of status, switch, cancel and stop.
inline constexpr std::int64_t kClientTimeoutNs = 10'000'000'000;
/// For the source to send its trace after its report.
inline constexpr std::int64_t kTraceTimeoutNs = 10'000'000'000;
/// For a client to take an answer: who asks and then does not read must not keep a process from
/// ending.
inline constexpr std::int64_t kSendTimeoutSeconds = 5;

// ------------------------------------------------------------------------ a process with a guest

inline constexpr auto kProgressInterval = std::chrono::milliseconds(100);
/// The guest tells nobody that it has filled its memory, so it is asked now and then.
inline constexpr auto kFillInterval = std::chrono::milliseconds(20);
/// For a migration whose link is given up to end.
inline constexpr auto kSettledWithin = std::chrono::seconds(5);
/// A little more than a timeline shows of the time before.
inline constexpr auto kBeforeTimeline = std::chrono::milliseconds(250);
/// A sweep that takes longer than this, and than its memory at this rate, is stuck.
inline constexpr std::int64_t kSweepBaseNs = 60'000'000'000;
inline constexpr std::uint64_t kSweepRateMin = 32U << 20;  ///< bytes/s

// --------------------------------------------------------------------------------------- the demo

/// For a child to say that it is ready.
inline constexpr std::int64_t kStartTimeoutNs = 60'000'000'000;
/// For a child to end, and for the target to notice a source that gave up.
inline constexpr std::int64_t kStopTimeoutNs = 5'000'000'000;
/// After the second Ctrl-C, or for a process that will not stop for the asking.
inline constexpr std::int64_t kHurriedStopNs = 1'000'000'000;
/// How long the guest runs at the target before it is asked: long enough for steps to be there to
/// tell of.
inline constexpr int kSettleMs = 200;
/// The same with a timeline: a second of whole intervals after the end.
inline constexpr int kTimelineTailMs = 1100;

}  // namespace godwit::app
