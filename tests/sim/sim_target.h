#pragma once

#include <memory>
#include <vector>

#include "books/page_states.h"
#include "simulator.h"

namespace godwit::sim {

/// The target: the real machine and page states on a simulated link, guest and userfaultfd.
class SimTarget : public GuestSide {
 public:
  SimTarget(World& world, const Scenario& scenario, LinkModel& link, FakeGuest& guest);

  /// The link of that number is lost, if it is the one in use.
  void on_link_lost(unsigned link);
  void cancel();
  [[nodiscard]] const engine::TargetMachine& machine() const { return machine_; }
  [[nodiscard]] engine::PageStates& pages() { return *states_; }
  std::function<void()> on_state;

  bool access(unsigned vcpu, PageId page, bool write) override;
  PerPage<std::uint32_t>& memory() override { return memory_; }
  [[nodiscard]] const char* name() const override { return "target"; }

 private:
  /// Who waits for a page: a vCPU, or the loader of machine state.
  struct Waiter {
    PageId page;
    unsigned vcpu = 0;
    bool loader = false;
  };
  /// What became of a page of a frame when its first byte arrived.
  struct Writing {
    PageId page;
    std::uint32_t content = 0;
    bool claimed = false;
    bool backed = false;
  };

  void take(engine::TargetEvent event);
  void act(std::uint32_t actions);
  void on_control(const Message& message);
  Ns begin_pages(ChannelName channel, const Message& message);
  void end_pages(ChannelName channel, const Message& message);
  void on_bulk(ChannelName channel, const Message& message);
  void on_stale(const Message& message);
  void on_final_sync(const Message& message);
  void load();
  void load_touch(unsigned left);
  void check_loader_read(PageId page);
  void fault(Waiter waiter);
  void map_around(PageId page);
  void wake(PageId page);
  void check_complete();
  void protocol_error();
  void send(ChannelName channel, Message message);
  void close();
  void drop_link();
  void take_link();
  void tell_missing();
  void ask_again();
  [[nodiscard]] bool may_resume() const;
  void watch();
  [[nodiscard]] bool receiving() const;

  World& world_;
  const Scenario& scenario_;
  LinkModel& link_;
  FakeGuest& guest_;
  engine::TargetMachine machine_;
  PerPage<std::uint32_t> memory_;
  std::unique_ptr<engine::PageStates> states_;
  PerPage<char> mapped_;
  PerPage<std::uint8_t> writers_;
  PerPage<std::uint8_t> installed_after_switch_;
  std::vector<Waiter> waiters_;
  std::array<std::vector<Writing>, kChannels.size()> writing_;  // by channel
  unsigned hellos_ = 0;
  unsigned number_ = 0;       // of the link
  unsigned next_number_ = 0;  // of the one on which the source has come back
  bool link_up_ = true;
  std::vector<PageRun> old_missing_;  // of the planted bug
  unsigned touches_left_ = 0;
  bool final_sync_seen_ = false;
  bool armed_ = false;
  bool closed_ = false;
  Ns last_progress_ = 0;
};

}  // namespace godwit::sim
