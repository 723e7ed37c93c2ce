#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "godwit/base/random.h"
#include "godwit/base/units.h"

namespace godwit::sim {

using Ns = std::int64_t;

/// Virtual time: events run in the order of their moments, those of one moment in the order they
/// were made.
class VirtualTime {
 public:
  [[nodiscard]] Ns now() const { return now_; }
  void after(Ns delay, std::function<void()> action) {
    queue_.push({now_ + delay, next_++, std::move(action)});
  }
  /// Runs the next event; false when there is none.
  bool run_one() {
    if (queue_.empty()) {
      return false;
    }
    auto event = queue_.top();
    queue_.pop();
    now_ = event.at;
    event.action();
    return true;
  }

 private:
  struct Event {
    Ns at;
    std::uint64_t order;
    std::function<void()> action;
    friend bool operator<(const Event& a, const Event& b) {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  Ns now_ = 0;
  std::uint64_t next_ = 0;
  std::priority_queue<Event> queue_;
};

/// What every part of a simulated migration shares: time, chance, and the list of broken promises.
struct World {
  explicit World(std::uint64_t seed) : random(seed) {}
  /// A promise was broken; the run goes on, so that one seed shows all that follows from it.
  void violation(std::string what) {
    if (violations.size() < 16) {
      violations.push_back(std::to_string(time.now() / 1000) + " us: " + std::move(what));
    }
  }
  bool chance(unsigned percent) { return random.below(100) < percent; }
  /// Between low and high, both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low +
           static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low) + 1));
  }

  VirtualTime time;
  SplitMix64 random;
  std::vector<std::string> violations;
};

/// One value a page, by region.
template <typename T>
class PerPage {
 public:
  explicit PerPage(const std::vector<std::uint64_t>& region_pages, T initial = T{}) {
    for (const auto pages : region_pages) {
      values_.emplace_back(pages, initial);
    }
  }
  T& operator[](PageId page) { return values_[page.region][page.index]; }
  const T& operator[](PageId page) const { return values_[page.region][page.index]; }
  template <typename Visit>
  void each(Visit&& visit) {
    for (RegionIndex region = 0; region < values_.size(); ++region) {
      for (std::uint64_t index = 0; index < values_[region].size(); ++index) {
        visit(PageId{region, index}, values_[region][index]);
      }
    }
  }

 private:
  std::vector<std::vector<T>> values_;
};

}  // namespace godwit::sim
