#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "godwit/engine/ports/transport.h"

#include "demo/planted.h"

namespace godwit::app {

/// What the decorators of one migration know of its course. Thread: any.
class PlantedCourse {
 public:
  /// The guest's state is being saved: what the target says from here on is READY, then requests.
  void note_saved() { saved_.store(true, std::memory_order_release); }
  // acquire: pairs with note_saved().
  [[nodiscard]] bool saved() const { return saved_.load(std::memory_order_acquire); }

  /// The migration ends or its link is lost: nobody waits for what comes over the others.
  void note_over() { over_.store(true, std::memory_order_release); }
  // acquire: pairs with note_over().
  [[nodiscard]] bool over() const { return over_.load(std::memory_order_acquire); }

  /// outage: the link is down until then, for those that connect.
  void go_down(std::int64_t until_ns) { down_until_ns_.store(until_ns, std::memory_order_release); }
  // acquire: pairs with go_down().
  [[nodiscard]] std::int64_t down_until_ns() const {
    return down_until_ns_.load(std::memory_order_acquire);
  }
  /// True once: of what happens a single time in a migration.
  bool first() { return !happened_.exchange(true, std::memory_order_acq_rel); }

  void add(engine::Channel* channel);
  void remove(engine::Channel* channel);
  /// Breaks every connection of the migration.
  void cut();

 private:
  std::atomic<bool> saved_{false};
  std::atomic<bool> over_{false};
  std::atomic<bool> happened_{false};
  std::atomic<std::int64_t> down_until_ns_{0};
  std::mutex mutex_;
  std::vector<engine::Channel*> channels_;  // guarded by mutex_
};

/// `channel` with the fault of `plant` in it, if the fault concerns channels of this kind.
std::unique_ptr<engine::Channel> plant_in_channel(std::unique_ptr<engine::Channel> channel,
                                                  engine::ChannelKind kind,
                                                  const Plant& plant,
                                                  std::shared_ptr<PlantedCourse> course);

}  // namespace godwit::app
