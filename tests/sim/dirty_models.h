#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "godwit/engine/ports/dirty.h"

#include "world.h"

// A bit of a model is a char that holds a bool: vector<bool> hands out no references.
// NOLINTBEGIN(readability-implicit-bool-conversion)
namespace godwit::sim {

/// How a kernel facility learns of writes, as far as the order of its steps matters. `interleave`
/// is called between two steps: the guest goes on writing there.
class DirtyModel : public engine::DirtySource {
 public:
  DirtyModel(const std::vector<std::uint64_t>& region_pages, std::function<void()> interleave)
      : interleave_(std::move(interleave)), protected_(region_pages, false) {}
  /// A vCPU is about to write. False: it must wait for the next harvest.
  virtual bool on_write(PageId page) = 0;

  Status start(engine::DirtySink& sink) override {
    sink_ = &sink;
    protected_.each([](PageId, char& is_protected) { is_protected = true; });
    return {};
  }
  void stop() override { sink_ = nullptr; }

 protected:
  void mark(PageId page) { sink_->mark(page.region, page.index / 64, 1ULL << (page.index % 64)); }

  std::function<void()> interleave_;
  engine::DirtySink* sink_ = nullptr;
  PerPage<char> protected_;
};

/// KVM's dirty log with manual protect: GET reports and leaves everything as it is; CLEAR
/// re-protects.
class DirtyLogModel : public DirtyModel {
 public:
  DirtyLogModel(const std::vector<std::uint64_t>& region_pages,
                std::function<void()> interleave,
                bool clear_after_read)
      : DirtyModel(region_pages, std::move(interleave)),
        logged_(region_pages, false),
        clear_after_read_(clear_after_read) {}

  bool on_write(PageId page) override {
    if (sink_ != nullptr && protected_[page]) {
      protected_[page] = false;
      logged_[page] = true;
    }
    return true;
  }
  Status sync() override {
    clear(std::exchange(late_, {}));
    std::vector<PageId> got;
    logged_.each([&](PageId page, char& logged) {
      if (logged) {
        got.push_back(page);
      }
    });
    interleave_();
    for (const auto page : got) {
      mark(page);
    }
    if (clear_after_read_) {
      // The planted bug: the pages are read before their protection is back.
      late_ = std::move(got);
    } else {
      clear(got);
    }
    interleave_();
    return {};
  }
  [[nodiscard]] const char* name() const override { return "log"; }

 private:
  void clear(const std::vector<PageId>& pages) {
    for (const auto page : pages) {
      logged_[page] = false;
      protected_[page] = true;
    }
  }
  PerPage<char> logged_;
  bool clear_after_read_;
  std::vector<PageId> late_;
};

/// KVM's dirty ring: a page stays writable from its entry until the RESET that covers the entry.
class DirtyRingModel : public DirtyModel {
 public:
  DirtyRingModel(World& world,
                 const std::vector<std::uint64_t>& region_pages,
                 std::function<void()> interleave,
                 std::function<void()> wake_writers,
                 bool publish_before_reset)
      : DirtyModel(region_pages, std::move(interleave)),
        world_(world),
        wake_writers_(std::move(wake_writers)),
        publish_before_reset_(publish_before_reset) {}

  bool on_write(PageId page) override {
    if (sink_ == nullptr || !protected_[page]) {
      return true;
    }
    if (entries_.size() + copied_.size() >= kCapacity) {
      return false;
    }
    protected_[page] = false;
    entries_.push_back(page);
    if (world_.chance(10)) {
      entries_.push_back(page);  // the ring may report a page twice
    }
    return true;
  }
  Status start(engine::DirtySink& sink) override {
    auto started = DirtyModel::start(sink);
    reap_later();
    return started;
  }
  Status sync() override {
    reset();
    copy();
    interleave_();
    if (!publish_before_reset_ || world_.chance(30)) {
      reset();
    }
    interleave_();
    return {};
  }
  [[nodiscard]] const char* name() const override { return "ring"; }

 private:
  static constexpr std::size_t kCapacity = 24;

  // The reaper is a thread of its own: it copies now and resets a moment later.
  void reap_later() {
    world_.time.after(world_.between(10'000, 400'000), [this] {
      if (sink_ == nullptr) {
        return;
      }
      copy();
      world_.time.after(world_.between(1'000, 100'000), [this] {
        if (sink_ != nullptr) {
          reset();
          wake_writers_();
          reap_later();
        }
      });
    });
  }
  void copy() {
    if (publish_before_reset_) {
      publish(entries_);  // the planted bug
    }
    copied_.insert(copied_.end(), entries_.begin(), entries_.end());
    entries_.clear();
  }
  void reset() {
    for (const auto page : copied_) {
      protected_[page] = true;
    }
    const auto covered = std::exchange(copied_, {});
    if (!publish_before_reset_) {
      publish(covered);
    }
  }
  void publish(const std::vector<PageId>& pages) {
    for (const auto page : pages) {
      mark(page);
    }
  }

  World& world_;
  std::function<void()> wake_writers_;
  bool publish_before_reset_;
  std::vector<PageId> entries_;
  std::vector<PageId> copied_;
};

/// Asynchronous write protection with a scan that reports and re-protects a page in one step.
class WriteProtectModel : public DirtyModel {
 public:
  WriteProtectModel(const std::vector<std::uint64_t>& region_pages,
                    std::function<void()> interleave)
      : DirtyModel(region_pages, std::move(interleave)) {}

  bool on_write(PageId page) override {
    protected_[page] = false;
    return true;
  }
  Status sync() override {
    protected_.each([&](PageId page, char& is_protected) {
      if (page.index % 64 == 0) {
        interleave_();
      }
      if (!is_protected) {
        is_protected = true;
        mark(page);
      }
    });
    interleave_();
    return {};
  }
  [[nodiscard]] const char* name() const override { return "wp"; }
};

}  // namespace godwit::sim
// NOLINTEND(readability-implicit-bool-conversion)
