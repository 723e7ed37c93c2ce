#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "world.h"

namespace godwit::sim {

/// Every eighth version of a page is all zero; the others differ from each other.
constexpr std::uint32_t content_of(std::uint32_t version) {
  return version % 8 == 0 ? 0 : version;
}

/// The memory of one side as the guest sees it.
class GuestSide {
 public:
  virtual ~GuestSide() = default;
  /// Makes `page` accessible. False: the vCPU waits until FakeGuest::wake().
  virtual bool access(unsigned vcpu, PageId page, bool write) = 0;
  virtual PerPage<std::uint32_t>& memory() = 0;
  [[nodiscard]] virtual const char* name() const = 0;
};

/// A guest with several vCPUs that reads and writes a working set at random and notices every page
/// that is not as it last wrote it. It runs on at most one side.
class FakeGuest {
 public:
  struct Options {
    unsigned vcpus = 1;
    Ns step_ns = 10'000;
    unsigned write_percent = 50;
    unsigned outside_percent = 5;  ///< accesses outside the working set
    std::uint64_t working_pages = 16;
  };

  FakeGuest(World& world, const std::vector<std::uint64_t>& region_pages, Options options)
      : world_(world),
        region_pages_(region_pages),
        options_(options),
        version_(region_pages, 0),
        vcpus_(options.vcpus) {
    for (std::uint64_t i = 0; i < options_.working_pages; ++i) {
      working_.push_back(any_page());
    }
  }

  PerPage<std::uint32_t>& versions() { return version_; }
  [[nodiscard]] const GuestSide* runner() const { return side_; }
  PageId any_page() {
    const auto region = static_cast<RegionIndex>(world_.random.below(region_pages_.size()));
    return {region, world_.random.below(region_pages_[region])};
  }
  PageId some_page() {
    return world_.chance(options_.outside_percent) ? any_page()
                                                   : working_[world_.random.below(working_.size())];
  }

  void run_on(GuestSide& side) {
    if (side_ == &side) {
      return;
    }
    if (side_ != nullptr) {
      world_.violation(std::string("two runners: the guest runs at the ") + side_->name() +
                       " and is started at the " + side.name());
    }
    side_ = &side;
    ++run_;
    for (unsigned i = 0; i < options_.vcpus; ++i) {
      vcpus_[i].waiting = false;
      schedule(i);
    }
  }
  void stop() {
    side_ = nullptr;
    ++run_;
  }
  [[nodiscard]] unsigned vcpus() const { return options_.vcpus; }
  /// The vCPU's page may be accessible now: it tries again.
  void wake(unsigned vcpu) {
    if (side_ != nullptr && vcpus_[vcpu].waiting) {
      attempt(vcpu);
    }
  }
  /// A few accesses right now: another core's work between two steps of whoever calls this.
  void interleave() {
    for (unsigned i = 0; i < options_.vcpus && side_ != nullptr; ++i) {
      if (!vcpus_[i].waiting && world_.chance(40)) {
        step(i);
      }
    }
  }
  /// Writes a page without going through dirty tracking of vCPUs, as a device does.
  void device_write(GuestSide& side, PageId page) {
    side.memory()[page] = content_of(++version_[page]);
  }
  void check_read(GuestSide& side, PageId page) {
    if (side.memory()[page] != content_of(version_[page])) {
      world_.violation("stale read at the " + std::string(side.name()) + ": region " +
                       std::to_string(page.region) + " page " + std::to_string(page.index));
    }
  }

 private:
  struct Vcpu {
    bool waiting = false;
    PageId page;
    bool write = false;
    std::uint64_t turn = 0;  // the scheduled step that counts; an older one is void
  };
  void schedule(unsigned vcpu) {
    const auto turn = ++vcpus_[vcpu].turn;
    world_.time.after(world_.between(1, 2 * options_.step_ns), [this, vcpu, turn, run = run_] {
      if (run == run_ && turn == vcpus_[vcpu].turn && !vcpus_[vcpu].waiting) {
        step(vcpu);
        if (!vcpus_[vcpu].waiting) {
          schedule(vcpu);
        }
      }
    });
  }
  void step(unsigned vcpu) {
    vcpus_[vcpu].page = some_page();
    vcpus_[vcpu].write = world_.chance(options_.write_percent);
    vcpus_[vcpu].waiting = !try_access(vcpu);
  }
  void attempt(unsigned vcpu) {
    vcpus_[vcpu].waiting = !try_access(vcpu);
    if (!vcpus_[vcpu].waiting) {
      schedule(vcpu);
    }
  }
  bool try_access(unsigned vcpu) {
    const auto page = vcpus_[vcpu].page;
    if (!side_->access(vcpu, page, vcpus_[vcpu].write)) {
      return false;
    }
    check_read(*side_, page);  // a write reads the page too: it writes a part of it
    if (vcpus_[vcpu].write) {
      side_->memory()[page] = content_of(++version_[page]);
    }
    return true;
  }

  World& world_;
  const std::vector<std::uint64_t>& region_pages_;
  Options options_;
  PerPage<std::uint32_t> version_;
  std::vector<Vcpu> vcpus_;
  std::vector<PageId> working_;
  GuestSide* side_ = nullptr;
  std::uint64_t run_ = 0;
};

}  // namespace godwit::sim
