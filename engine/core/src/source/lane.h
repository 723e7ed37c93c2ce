#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "link/lane_rank.h"
#include "source/batch_builder.h"
#include "source/lanes.h"

namespace godwit::engine {

/// One thread of the source's bulk channels: carries out the orders of SourceLanes on its channels.
class SourceLane {
 public:
  SourceLane(SourceLanes& lanes, std::unique_ptr<EventLoop> loop);
  ~SourceLane() { stop(); }
  SourceLane(const SourceLane&) = delete;
  SourceLane& operator=(const SourceLane&) = delete;

  /// Before start() only.
  Status add_channel(std::unique_ptr<Channel> channel, std::uint32_t index, Deadline deadline);
  Status start(const std::string& name);
  void stop();
  void shut_down();

  /// Hands over an order with the announcements of all channels. Requires: the last one is done.
  void give(const SourceLanes::Order& order, std::vector<std::vector<PageRun>>& stale_by_channel);
  [[nodiscard]] std::uint64_t orders_done() const {
    // acquire: pairs with complete_order(): the counters and books of the order are visible.
    return done_.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t bytes_moved() const;
  [[nodiscard]] std::int64_t progress_ns() const {
    return progress_ns_.load(std::memory_order_relaxed);
  }
  /// For a processor, until the end of the last order during which the guest ran.
  [[nodiscard]] std::int64_t waited_ns() const {
    return waited_ns_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool raised() const { return raised_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    Slot(SourceLane& lane, std::unique_ptr<FrameChannel> frames, std::uint32_t number);
    std::unique_ptr<FrameChannel> channel;
    std::uint32_t index;
    bool open = false;  // the target has answered
    RoundCursor cursor;
    std::array<BatchBuilder, 2> frames;
    unsigned next_frame = 0;
    bool have_next = false;  // frames[next_frame] is built and not sent
    BatchBuilder* on_the_way = nullptr;
    bool finished = false;  // nothing left of this order
    std::vector<PageRun> stale;
  };

  void run();
  Status on_frame(Slot& slot, const wire::FrameView& frame);
  void on_sent(Slot& slot);
  void take_order();
  void announce(Slot& slot);
  bool pump();
  [[nodiscard]] bool limited() const;
  bool is_paced(std::int64_t now);
  void stay_heard(std::int64_t now);
  bool feed(Slot& slot);
  bool prepare(Slot& slot);
  void send_next(Slot& slot);
  void account(const BatchBuilder& frame);
  void note_cost(const BatchBuilder& frame, std::int64_t now);
  void complete_order();
  /// Takes the rank that the order asks for.
  void hold_rank(std::int64_t now_ns);
  [[nodiscard]] bool round_is_cut() const;
  [[nodiscard]] bool streaming() const { return order_.work == SourceLanes::Work::kStream; }
  void fail_unless_stopping(const Error& error);

  SourceLanes& lanes_;
  std::unique_ptr<EventLoop> loop_;  // lives as long as this object: wake() may come at any time
  std::vector<std::unique_ptr<Slot>> slots_;
  SourceLanes::Order order_;  // what is being done
  std::uint32_t barriers_out_ = 0;
  std::int64_t paced_until_ns_ = 0;  // 0 = not waiting
  std::int64_t spoke_ns_ = 0;        // when something was last handed to a socket
  std::int64_t cost_from_ns_ = 0;    // what follows is the cost of the next frame that is sent
  LaneRank rank_;

  std::mutex order_mutex_;  // once an order: guards next_order_ and the slots' stale runs
  std::optional<SourceLanes::Order> next_order_;
  /// An order has come since take_order(): pump() may have taken the wake-up that told of it.
  std::atomic<bool> news_{false};
  std::atomic<std::uint64_t> done_{0};
  std::atomic<std::int64_t> progress_ns_{0};
  std::atomic<std::int64_t> waited_ns_{0};  // for the report
  std::atomic<bool> raised_{false};         // the same
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

}  // namespace godwit::engine
