#pragma once

#include <deque>
#include <memory>

#include "godwit/wire/format.h"

#include "books/dirty_ledger.h"
#include "books/page_scheduler.h"
#include "dirty_models.h"
#include "policy/blackout_forecast.h"
#include "policy/switch_policy.h"
#include "simulator.h"

namespace godwit::sim {

/// The source: the real machine, ledger and scheduler on a simulated link and guest.
class SimSource : public GuestSide {
 public:
  SimSource(World& world, const Scenario& scenario, LinkModel& link, FakeGuest& guest);

  void start();
  /// The link of that number is lost, if it is the one in use.
  void on_link_lost(unsigned link);
  void cancel();
  void fail();
  void request_switch() { switch_requested_ = true; }
  [[nodiscard]] const engine::SourceMachine& machine() const { return machine_; }
  void count(Outcome& outcome) const;
  /// Called after every change of state.
  std::function<void()> on_state;

  bool access(unsigned vcpu, PageId page, bool write) override;
  PerPage<std::uint32_t>& memory() override { return memory_; }
  [[nodiscard]] const char* name() const override { return "source"; }

 private:
  void take(engine::SourceEvent event);
  void act(std::uint32_t actions);
  void on_control(const Message& message);
  void on_bulk(const Message& message);
  void in_band_stale(PageRun run);
  [[nodiscard]] std::uint32_t channel_of(PageId page) const;
  void on_urgent(const Message& message);
  void send(ChannelName channel, Message message, std::function<void()> handed = {});
  [[nodiscard]] bool deaf() const;

  void arm_and_scan();
  void on_channels_open();
  void start_rounds();
  void next_batch(std::uint32_t channel);
  void channel_done();
  void end_of_round();
  void quiesce();
  void send_state();
  void next_background(std::uint32_t channel);
  void serve(PageId page);
  void pump_urgent();
  void sync_and_announce(bool in_band);
  void send_stale(ChannelName channel, PageRun run);
  Message build(const engine::PageBatchPlan& plan, Phase phase);
  void landed(const engine::PageBatchPlan& plan);
  void stop_tracking();
  void mark(PageId page);
  void device_write_later();
  void close();
  void drop_link();
  void dial();
  void on_missing(const Message& message);
  /// Calls `then` later, unless the link is lost meanwhile.
  void on_this_link_after(Ns delay, std::function<void()> then);
  void watch();

  World& world_;
  const Scenario& scenario_;
  LinkModel& link_;
  FakeGuest& guest_;
  engine::SourceMachine machine_;
  PerPage<std::uint32_t> memory_;
  engine::DirtyLedger ledger_;
  engine::PageScheduler scheduler_;
  std::vector<engine::RoundCursor> cursors_;  // one a bulk channel
  std::uint32_t channels_busy_ = 0;           // with the round, the barrier or the stream
  std::unique_ptr<DirtyModel> dirty_;
  std::vector<PageId> unmarked_;  // written by a device, not marked yet
  std::deque<PageId> urgent_queue_;
  PerPage<std::uint8_t> sent_after_switch_;
  Message late_frame_;  // of the planted bug, with its channel
  std::uint32_t late_channel_ = 0;
  bool urgent_sending_ = false;
  bool tracking_ = false;
  bool switched_ = false;
  bool switch_requested_ = false;
  engine::Convergence convergence_;
  bool closed_ = false;
  unsigned number_ = 0;  // of the link
  bool target_runs_ = false;
  bool dials_ = false;      // there is no link, and one is to be had
  bool resyncing_ = false;  // since the link was lost, until pages flow again
  Ns lost_at_ = 0;
  std::uint64_t recovered_ = 0;
  std::uint64_t sent_again_ = 0;
  unsigned welcomes_ = 0;
  std::uint32_t rounds_ = 0;
  std::uint64_t previous_pending_ = 0;
  std::uint64_t round_pages_ = 0;
  std::uint64_t pages_sent_ = 0;
  std::uint64_t overtaken_ = 0;
  std::uint64_t demand_ = 0;
  Ns round_started_ = 0;
  Ns last_progress_ = 0;
};

}  // namespace godwit::sim
