#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "link/frame_channel.h"
#include "policy/pacer.h"
#include "source/notes.h"
#include "source/plane.h"

namespace godwit::engine {

// The source's bulk channels.
//
// A *lane* is a thread with an event loop that keeps some of the channels busy; there are fewer
// lanes than channels where the host has few cores. The migration thread decides what is to be done
// (walk a round, put a barrier on every channel, stream the rest after the switch) and gives each
// lane an *order*; a lane says when it is done. So the migration thread waits for events only, and
// what copies and hashes pages never decides anything.
//
// Announcements of stale pages travel with the next order, on the channel that carries their pages.

class SourceLane;

/// All bulk channels of a migration. Thread: migration, except shut_down().
class SourceLanes {
 public:
  /// `hello` of channel 0; the others differ in their index.
  SourceLanes(SourcePlane& plane, SourceNotes notes, wire::Hello hello);
  ~SourceLanes();
  SourceLanes(const SourceLanes&) = delete;
  SourceLanes& operator=(const SourceLanes&) = delete;

  /// Connects all channels and starts the lanes.
  Status open(Transport& transport, Deadline deadline);
  /// The target has answered on every channel.
  [[nodiscard]] bool all_open() const;

  /// Tells the target, with the next order, that its copies are old.
  void announce(PageRun run);
  /// One pass over the pending pages. `live`: the guest runs and a requested switch ends the round.
  void start_round(bool live);
  void send_barrier(std::uint64_t id);
  /// Everything that is still pending, in the scheduler's order.
  void start_stream();
  /// The last order has been carried out by every lane.
  [[nodiscard]] bool done() const;

  /// Nothing more is sent: the migration ends.
  void halt();
  void shut_down();
  /// Joins the lanes.
  void stop();

  [[nodiscard]] std::uint64_t bytes_moved() const;  ///< on the wire, both directions
  [[nodiscard]] std::int64_t progress_ns() const;   ///< when something last moved
  [[nodiscard]] std::int64_t waited_ns() const;     ///< all lanes, for a processor
  [[nodiscard]] bool raised() const;                ///< one of them has taken more than its share

 private:
  friend class SourceLane;
  enum class Work : std::uint8_t { kNone = 0, kRound, kBarrier, kStream };
  struct Order {
    Work work = Work::kNone;
    bool live = false;
    std::uint64_t barrier_id = 0;
  };
  void issue(const Order& order);

  SourcePlane& plane_;
  SourceNotes notes_;
  wire::Hello hello_;
  std::mutex pacer_mutex_;  // once a frame
  Pacer pacer_;
  std::vector<std::unique_ptr<SourceLane>> lanes_;
  std::vector<std::vector<PageRun>> stale_;  // by channel, until the next order
  std::uint64_t issued_ = 0;
  std::atomic<std::uint32_t> open_{0};
  std::atomic<bool> halted_{false};
};

}  // namespace godwit::engine
